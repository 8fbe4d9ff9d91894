"""Token entropies of rollouts, estimated from the engine's top log-probabilities.

They let the learner reward by uncertainty (DARE with `entropy=topk`) without a forward pass.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from rewards.rollouts import Rollout
from rewards.token_signals import entropy_estimate, mean_over_tokens
from server.engine import EngineReplyInvalid, Sample

QWEN_VOCABULARY = 151_936
_INLINE_TOKENS = 512
"""More tokens than this are worked on in a thread: some milliseconds' worth."""


async def with_entropies(sample: Sample, vocab_size: int) -> list[Rollout]:
    """The sample's rollouts with their mean token entropies, nats. Raises EngineReplyInvalid."""
    if sample.completion_tokens > _INLINE_TOKENS:
        return await asyncio.to_thread(_with_entropies, sample, vocab_size)
    return _with_entropies(sample, vocab_size)


def vocabulary_of(model: str) -> int:
    """Tokens of the model in that folder; as many as Qwen2.5's if nothing says so there."""
    config = Path(model) / "config.json"
    known: dict[str, Any] = orjson.loads(config.read_bytes()) if config.is_file() else {}
    return int(known.get("vocab_size", QWEN_VOCABULARY))


def _with_entropies(sample: Sample, vocab_size: int) -> list[Rollout]:
    try:
        return [
            replace(rollout, entropy=_entropy(choice, vocab_size))
            for rollout, choice in zip(sample.rollouts, sample.choices, strict=True)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise EngineReplyInvalid(f"no usable top_logprobs: {error}") from None


def _entropy(choice: Mapping[str, Any], vocab_size: int) -> float:
    tops = [
        [float(top["logprob"]) for top in token["top_logprobs"]]
        for token in choice["logprobs"]["content"]
    ]
    return mean_over_tokens(lambda values: entropy_estimate(values, vocab_size), tops)
