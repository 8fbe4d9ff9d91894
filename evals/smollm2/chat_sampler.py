"""Rollouts of any chat model sampled in this process, by its own chat template.

Prompts of one batch are padded on the left, a prompt is computed once for all its rollouts, and
those that have ended leave the batch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from transformers import DynamicCache

from evals.arithmetic.sampler import Decoding
from rewards.answer_choice import AnswerChoice
from rewards.rollouts import FINISHED, Rollout, RolloutGroup, Sampling

_ROWS = 256
"""Rollouts that are sampled at once."""
_SHRINK = 0.75
"""The batch is made smaller once no more than this share of it goes on."""


class Asked(Protocol):
    """A question: a text, under an identifier."""

    @property
    def id(self) -> str: ...

    @property
    def text(self) -> str: ...


@dataclass(slots=True)
class _Written:
    """A rollout under way: tokens, their log-probabilities, and the entropies before each."""

    ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    entropies: list[float] = field(default_factory=list[float])
    ended: bool = False


class ChatSampler:
    """Samples from a model that may be training, at most `max_tokens` a rollout unless the decoding
    says otherwise. Groups are marked
    with how their answers are read, `choice`. Same seed and weights, same rollouts."""

    def __init__(
        self, model: Any, tokenizer: Any, seed: int, *, choice: AnswerChoice, max_tokens: int = 32
    ) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._generator = torch.Generator().manual_seed(seed)
        self._choice, self._max_tokens = choice, max_tokens
        self.tokens = 0
        """Sampled since the start."""

    def groups(self, asked: Sequence[Asked], decoding: Decoding) -> list[RolloutGroup]:
        """One group a question. Log-probabilities and entropies are exact: those of the sampled
        weights over the full vocabulary, at the temperature."""
        prompts = [self.prompt_ids(question.text) for question in asked]
        sampling = Sampling(decoding.temperature, max_tokens=self._most(decoding))
        found: list[RolloutGroup] = []
        at_once = max(1, _ROWS // decoding.n)
        for start in range(0, len(prompts), at_once):
            part = prompts[start : start + at_once]
            for question, ids, rollouts in zip(
                asked[start : start + at_once], part, self._sample(part, decoding), strict=True
            ):
                found.append(
                    RolloutGroup(
                        question.id, question.text, ids, rollouts, policy_version=0,
                        sampling=sampling, client="", created_at=time.time(), answer=self._choice,
                    )
                )  # fmt: skip
        return found

    def prompt_ids(self, text: str) -> list[int]:
        """The tokens of one user message, as the model reads it."""
        message = [{"role": "user", "content": text}]
        ids = self._tokenizer.apply_chat_template(
            message, add_generation_prompt=True, return_dict=False
        )
        return cast("list[int]", ids)

    @torch.inference_mode()
    def _sample(self, prompts: Sequence[list[int]], decoding: Decoding) -> list[list[Rollout]]:
        n = decoding.n
        ids, mask = self._padded(prompts)
        cache = DynamicCache(config=self._model.config)
        logits = self._next(ids, mask, mask.cumsum(1).sub(1).clamp(min=0), cache)
        cache.batch_repeat_interleave(n)
        logits, mask = logits.repeat_interleave(n, dim=0), mask.repeat_interleave(n, dim=0)
        written = [_Written() for _ in range(len(logits))]
        rows = torch.arange(len(logits))  # of the batch, in `written`
        most = self._most(decoding)
        for position in range(most):
            tokens, scores, entropies = self._drawn(logits, decoding.temperature)
            going: list[int] = []  # places of the batch whose rollouts go on
            for place, row in enumerate(cast("list[int]", rows.tolist())):
                one = written[row]
                if one.ended:
                    continue
                one.ids.append(tokens[place])
                one.logprobs.append(scores[place])
                one.entropies.append(entropies[place])
                one.ended = tokens[place] == self._tokenizer.eos_token_id
                if not one.ended:
                    going.append(place)
            if not going or position + 1 == most:
                break
            kept = torch.arange(len(rows))
            if len(going) <= _SHRINK * len(rows):  # each time costs a copy of all keys and values
                kept = torch.tensor(going)
                cache.batch_select_indices(kept)
                rows, mask = rows[kept], mask[kept]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            ids = torch.tensor(tokens)[kept][:, None]
            logits = self._next(ids, mask, mask.sum(1, keepdim=True).sub(1), cache)
        self.tokens += sum(len(one.ids) for one in written)
        return [
            [self._rollout(one) for one in written[start : start + n]]
            for start in range(0, len(written), n)
        ]

    def _most(self, decoding: Decoding) -> int:
        return decoding.max_tokens or self._max_tokens

    def _padded(self, prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Tokens and mask [prompts, longest], padded on the left."""
        longest = max(map(len, prompts))
        filler = self._tokenizer.eos_token_id
        ids = [[filler] * (longest - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return torch.tensor(ids), torch.tensor(mask)

    def _next(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        """Logits [rows, vocabulary] after the last token."""
        out = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache,
            use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        return out.logits[:, -1].float()

    def _drawn(
        self, logits: Tensor, temperature: float
    ) -> tuple[list[int], list[float], list[float]]:
        """A token a row, its log-probability, and the entropy of what it was drawn from."""
        log_probs = (logits / temperature).log_softmax(dim=-1)
        probs = log_probs.exp()
        token = torch.multinomial(probs, 1, generator=self._generator)
        entropies = -(probs * log_probs).sum(dim=-1)
        scores = log_probs.gather(1, token)[:, 0]
        tokens = cast("list[int]", token[:, 0].tolist())
        return tokens, _floats(scores), _floats(entropies)

    def _rollout(self, one: _Written) -> Rollout:
        text = cast("str", self._tokenizer.decode(one.ids, skip_special_tokens=True))
        entropy = sum(one.entropies) / len(one.entropies)
        reason = FINISHED if one.ended else "length"
        return Rollout(text, one.ids, one.logprobs, reason, entropy=entropy)


def _floats(values: Tensor) -> list[float]:
    return cast("list[float]", values.tolist())
