"""The probability of a reference answer after each rollout's reasoning, for RLPR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch

from adapter.training.token_scores import PromptBatch, TokenSequence, score_tokens

_BOX = "\\boxed{"


@torch.no_grad()
def reference_logprobs(
    model: Any,
    tokenizer: Any,
    *,
    prompt_ids: Sequence[int],
    rollouts: Sequence[Sequence[int]],
    answer: str,
) -> Sequence[torch.Tensor]:
    """Log-probabilities of the answer's tokens in place of each rollout's own answer, a tensor for
    each rollout; a single 0 for an answer without tokens."""
    ids = cast("list[int]", tokenizer(answer, add_special_tokens=False)["input_ids"])
    if not ids:
        return [torch.zeros(1)] * len(rollouts)
    starts = [_answer_at(tokenizer, rollout) for rollout in rollouts]
    found: list[torch.Tensor] = [torch.zeros(0)] * len(rollouts)
    for start in set(starts):  # a batch has prompts of one length
        rows = [row for row, mine in enumerate(starts) if mine == start]
        sequences = [TokenSequence([*prompt_ids, *rollouts[row][:start]], ids) for row in rows]
        scores, _ = score_tokens(model, PromptBatch.of(sequences, torch.device("cpu")))
        parts = cast("Sequence[torch.Tensor]", scores.split([len(ids)] * len(rows)))
        for row, part in zip(rows, parts, strict=True):
            found[row] = part
    return found


def _answer_at(tokenizer: Any, rollout: Sequence[int]) -> int:
    """Index of the first token inside the last box, or the rollout's length."""
    for end in range(len(rollout), 0, -1):
        if tokenizer.decode(rollout[:end]).rstrip().endswith(_BOX):
            return end
    return len(rollout)
