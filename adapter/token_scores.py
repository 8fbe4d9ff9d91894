"""Log-probabilities and entropies of given tokens, from one forward pass.

Only positions that predict a completion token ever see the output head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_HEAD_ELEMENTS = 1 << 26
"""Logits held at once (elements): 256 MB in fp32."""


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """Prompt and completion ids of one rollout."""

    prompt: Sequence[int]
    completion: Sequence[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True, slots=True)
class PaddedBatch:
    """Right-padded ids [B, L] with their attention mask [B, L]; `predicts` [B, L] marks positions
    whose next token is a completion token, `targets` [N] are those tokens in row order."""

    ids: Tensor
    attention: Tensor
    predicts: Tensor
    targets: Tensor

    @staticmethod
    def of(sequences: Sequence[TokenSequence], device: torch.device) -> "PaddedBatch":
        """Pad B sequences to the longest."""
        shape = (len(sequences), max(map(len, sequences)))
        ids = torch.zeros(shape, dtype=torch.long)
        attention = torch.zeros(shape, dtype=torch.long)
        predicts = torch.zeros(shape, dtype=torch.bool)
        for row, sequence in enumerate(sequences):
            tokens = [*sequence.prompt, *sequence.completion]
            ids[row, : len(tokens)] = torch.tensor(tokens)
            attention[row, : len(tokens)] = 1
            predicts[row, len(sequence.prompt) - 1 : len(tokens) - 1] = True
        targets = ids.roll(-1, dims=1)[predicts]
        return PaddedBatch(*(part.to(device) for part in (ids, attention, predicts, targets)))


def predicting_states(model: Any, batch: PaddedBatch) -> Tensor:
    """Last hidden states [N, d] of the positions that predict a completion token, in row order."""
    return model.get_decoder()(
        input_ids=batch.ids, attention_mask=batch.attention, use_cache=False
    ).last_hidden_state[batch.predicts]


def score_tokens(model: Any, batch: PaddedBatch, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """`model`, a transformers causal language model, on a batch: log-probability and entropy (nats)
    of the N completion tokens, each [N] in fp32 or better, in row order.

    `temperature` divides the logits, as the engine did when it sampled.
    """
    hidden = predicting_states(model, batch)
    head = model.get_output_embeddings()
    rows = max(1, _HEAD_ELEMENTS // model.config.vocab_size)
    logprobs: list[Tensor] = []
    entropies: list[Tensor] = []
    for start in range(0, len(hidden), rows):
        targets = batch.targets[start : start + rows]
        logits = head(hidden[start : start + rows])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        logs = torch.log_softmax(logits, dim=-1)
        logprobs.append(logs.gather(-1, targets[:, None]).squeeze(-1))
        entropies.append(-(logs.detach().exp() * logs.detach()).sum(-1))
    return torch.cat(logprobs), torch.cat(entropies)


def micro_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices grouped so that a padded group holds at most `budget` tokens (or one sequence)."""
    batch: list[int] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        longest = max(longest, lengths[index])
        if batch and longest * (len(batch) + 1) > budget:
            yield batch
            batch, longest = [], lengths[index]
        batch.append(index)
    if batch:
        yield batch
