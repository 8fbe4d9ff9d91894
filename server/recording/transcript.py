"""Token entropies of rollouts, estimated from the engine's top log-probabilities.

With them the learner can reward by uncertainty (DARE with `entropy=topk`) without a forward pass.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from rewards.rollouts import Rollout
from rewards.token_signals import QWEN_VOCABULARY, entropy_estimate, mean_over_tokens
from server.engine.base import Draw, EngineReplyInvalid

_INLINE_TOKENS = 512
"""More tokens than this are computed in a thread: some milliseconds' worth."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """Makes rollouts for the learner out of draws; with entropies if `top_logprobs` were asked for,
    by the `vocab_size` of the model."""

    top_logprobs: int
    vocab_size: int

    async def rollouts(self, draws: Sequence[Draw]) -> list[Rollout]:
        """The rollouts, with mean token entropies in nats. Raises EngineReplyInvalid."""
        if not self.top_logprobs:
            return [draw.rollout for draw in draws]
        if sum(draw.tokens for draw in draws) > _INLINE_TOKENS:
            return await asyncio.to_thread(_with_entropies, draws, self.vocab_size)
        return _with_entropies(draws, self.vocab_size)


def vocabulary_of(model: str) -> int:
    """The vocabulary size of the model in that folder; Qwen2.5's if its config does not say."""
    config = Path(model) / "config.json"
    known: dict[str, Any] = orjson.loads(config.read_bytes()) if config.is_file() else {}
    return int(known.get("vocab_size", QWEN_VOCABULARY))


def _with_entropies(draws: Sequence[Draw], vocab_size: int) -> list[Rollout]:
    try:
        return [replace(draw.rollout, entropy=_entropy(draw, vocab_size)) for draw in draws]
    except ValueError as error:
        raise EngineReplyInvalid(f"no usable top log-probabilities: {error}") from None


def _entropy(draw: Draw, vocab_size: int) -> float:
    tops = draw.top_logprobs
    if len(tops) != draw.tokens:
        raise ValueError(f"{len(tops)} for {draw.tokens} tokens")
    return mean_over_tokens(lambda values: entropy_estimate(values, vocab_size), tops)
