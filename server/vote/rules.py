"""How votes are held, unless a request says otherwise, and how their rollouts are sampled."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from adapter.store.clients import pseudonyms
from rewards.answer_choice import AnswerChoice
from server.api.requests import FORWARDED, SamplingRequest
from server.api.tools import ReplyForm
from server.engine.base import Prompt
from server.policy.governor import Plan
from server.policy.support import Support
from server.recording.reservoir import Query
from server.recording.template import template_of

TOKENS_IN_TIME = 4_096
"""Tokens of a rollout that fit into the usual time; requests for more get more, in proportion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRules:
    """Rollouts per query by default (and to start with, 0: as the governor says) and at most, their
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

    def confidence_of(self, request: SamplingRequest) -> float:
        """The confidence at which its vote is over: 1 where every rollout counts, because the model
        chooses among all answers, or because prose has no leading one."""
        ours = request.ratchet
        if ours.strategy == "reflect" or request.answer(self.answer).kind == "text":
            return 1.0
        return ours.confidence or self.confidence

    def heeding(self, plan: Plan, request: SamplingRequest, size: int, least: int) -> Plan:
        """The plan with as many rollouts to begin with as the request or the operator asks for, and
        `least` of `size` at the least."""
        first = request.ratchet.rollouts_min or self.rollouts_min or plan.first
        return replace(plan, first=min(size, max(first, request.n, least)))

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


def slices_of(prompt: Prompt, client: str, answer: AnswerChoice) -> Sequence[str]:
    """The slices by which the governor knows a question, narrowest first: nobody's rollouts depend
    on what the questions of other keys needed."""
    holder = pseudonyms(client)[1]
    return f"{holder}:{answer.kind}:{template_of(prompt)}", f"{holder}:{answer.kind}"


def _derived_seed(seed: int, prompt: Prompt) -> int:
    """A seed that depends on the prompt too, or a fixed one would draw alike for all prompts."""
    digest = hashlib.sha256(f"{seed}:{prompt_key(prompt)}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
