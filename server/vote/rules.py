"""How votes are held unless a request says otherwise, and how their rollouts are sampled."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from server.api.requests import FORWARDED, SamplingRequest
from server.engine.base import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRules:
    """Rollouts per query by default (and to start with, if not all at once) and at most, the
    temperature they are sampled at, and the confidence that settles a vote.

    The engine is asked for `top_logprobs` of each token, beyond what the client wants.
    """

    rollouts: int
    rollouts_min: int
    max_rollouts: int
    temperature: float
    confidence: float
    deadline: float
    top_logprobs: int

    def options(self, request: SamplingRequest, prompt: Prompt) -> dict[str, Any]:
        """The engine's sampling options for a request's rollouts."""
        options: dict[str, Any] = request.forwarded(FORWARDED)
        options["temperature"] = self.temperature
        if request.top_p is not None:
            options["top_p"] = request.top_p
        if request.top_k is not None:
            options["top_k"] = request.top_k
        if request.seed is not None:
            options["seed"] = _derived_seed(request.seed, prompt)
        if request.wanted_logprobs is not None:
            options["logprobs"] = True
        if tops := max(request.wanted_logprobs or 0, self.top_logprobs):
            options["top_logprobs"] = tops
        return options


def prompt_key(prompt: Prompt) -> str:
    """Tells prompts apart: SHA-256 in hexadecimal."""
    return hashlib.sha256(orjson.dumps(prompt)).hexdigest()


def _derived_seed(seed: int, prompt: Prompt) -> int:
    """A client's fixed seed must not draw the same rollouts for every prompt."""
    digest = hashlib.sha256(f"{seed}:{prompt_key(prompt)}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
