"""How votes are held, unless a request says otherwise, and how their rollouts are sampled."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson

from rewards.answer_choice import AnswerChoice
from server.api.requests import FORWARDED, SamplingRequest
from server.api.tools import ReplyForm
from server.engine.base import Prompt
from server.policy.support import Support
from server.recording.reservoir import Query

TOKENS_IN_TIME = 4_096
"""Tokens of a rollout that fit into the usual time; requests for more get more, in proportion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRules:
    """Rollouts per query by default (and to start with, if not all at once) and at most, their
    temperature, how answers are read by default, the confidence of a vote and the support of its
    winner, its deadline by default (in seconds, for TOKENS_IN_TIME) and at most, and the
    `top_logprobs` that the engine is asked for even if the client wants fewer; kinds of answers
    that no trial has are `unjudged`.
    """

    rollouts: int
    rollouts_min: int
    max_rollouts: int
    temperature: float
    answer: AnswerChoice
    confidence: float
    support: Support
    deadline: float
    max_deadline: float
    top_logprobs: int
    unjudged: Collection[str] = ()

    def judges(self, request: SamplingRequest) -> bool:
        """Whether a request is traffic as trials see it: voted on, and of a kind that is learnt
        from as far as the request says."""
        return not request.single and request.answer(self.answer).kind not in self.unjudged

    def seconds(self, request: SamplingRequest) -> float:
        """Seconds for which an answer is of use."""
        usual = self.engine_seconds(request)
        return min(request.ratchet.deadline or usual, max(self.max_deadline, usual))

    def engine_seconds(self, request: SamplingRequest) -> float:
        """Seconds that the engine has for a rollout: a limit of 32,768 tokens has eight times as
        many as one of 4,096, or no engine could reach it."""
        return self.deadline * max(1.0, (request.token_limit or 0) / TOKENS_IN_TIME)

    def options(self, request: SamplingRequest, prompt: Prompt) -> dict[str, Any]:
        """The engine's sampling options for a request's rollouts."""
        options: dict[str, Any] = request.forwarded(FORWARDED | {"top_p", "top_k"})
        options["temperature"] = self.temperature
        if request.seed is not None:
            options["seed"] = _derived_seed(request.seed, prompt)
        if request.wanted_logprobs is not None:
            options["logprobs"] = True
        if tops := max(request.wanted_logprobs or 0, self.top_logprobs):
            options["top_logprobs"] = tops
        return options


def prompt_key(prompt: Prompt) -> str:
    """A key that equal prompts share: SHA-256 in hexadecimal."""
    return hashlib.sha256(orjson.dumps(prompt)).hexdigest()


def query_key(query: Query) -> str:
    """A key that queries share which ask the same in the same form, and are read alike."""
    form = {name: query.options.get(name) for name in sorted(ReplyForm.model_fields)}
    whole = [query.prompt, form, query.answer.to_json()]
    return hashlib.sha256(orjson.dumps(whole)).hexdigest()


def _derived_seed(seed: int, prompt: Prompt) -> int:
    """A seed that depends on the prompt too, or a fixed one would draw alike for all prompts."""
    digest = hashlib.sha256(f"{seed}:{prompt_key(prompt)}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
