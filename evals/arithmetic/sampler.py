"""Rollout groups drawn in this process: what an engine gives, where none runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from evals.arithmetic import tokenizer
from evals.arithmetic.measurement import MAX_NEW_TOKENS, Reply, sample
from evals.arithmetic.questions import Question
from rewards.rollouts import Rollout, RolloutGroup, Sampling


@dataclass(frozen=True, slots=True)
class Decoding:
    """How rollouts are drawn: `n` a question, the first `shared` tokens of them alike."""

    n: int = 32
    temperature: float = 1.0
    top_p: float = 1.0
    shared: int = 0


class Sampler:
    """Draws from a model that may learn meanwhile. Same seed, same weights: same rollouts."""

    def __init__(self, model: Any, words: Any, seed: int) -> None:
        self._model, self._words = model, words
        self._generator = torch.Generator().manual_seed(seed)

    def groups(self, asked: Sequence[Question], decoding: Decoding) -> list[RolloutGroup]:
        """One group a question. Log-probabilities and entropies are those of the weights sampled
        from, over the full vocabulary at the temperature: exact, with nothing to correct."""
        drawn = sample(
            self._model, self._words, asked, decoding.n, decoding.temperature, decoding.top_p,
            self._generator, MAX_NEW_TOKENS, decoding.shared,
        )  # fmt: skip
        sampling = Sampling(decoding.temperature, max_tokens=MAX_NEW_TOKENS)
        return [
            RolloutGroup(
                question.id, question.text, self.prompt_ids(question), list(map(_rollout, replies)),
                0, sampling, "", time.time(),
            )
            for question, replies in zip(asked, drawn, strict=True)
        ]  # fmt: skip

    def prompt_ids(self, question: Question) -> list[int]:
        """The question as the model reads it."""
        return cast("list[int]", self._words(tokenizer.prompt_text(question.text))["input_ids"])


def _rollout(reply: Reply) -> Rollout:
    finish = "stop" if reply.ended else "length"
    return Rollout(reply.text, reply.token_ids, reply.logprobs, finish, reply.entropy)
