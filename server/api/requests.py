"""Completion requests as the OpenAI API reference defines them, plus the `ratchet` extension.

https://platform.openai.com/docs/api-reference/chat/create and …/completions/create
"""

import uuid
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from rewards.answer_choice import AnswerChoice
from server.api.fields import (
    WHOLE,
    Count,
    Message,
    MetadataKey,
    MetadataValue,
    NonEmpty,
    Penalty,
    Positive,
    RatchetOptions,
    StreamOptions,
    Strict,
    TopLogprobs,
    Unit,
)
from server.api.functions import in_todays_form
from server.api.tools import FORM_RULES, ReplyForm
from server.engine.base import Prompt

# Forwarded to the engine unchanged, whatever the strategy.
FORWARDED = frozenset({
    "max_tokens", "max_completion_tokens", "stop", "presence_penalty", "frequency_penalty",
    "logit_bias", "ignore_eos", "min_tokens", "repetition_penalty", "skip_special_tokens",
    "include_stop_str_in_output", "chat_template_kwargs", "reasoning_effort",
    *ReplyForm.model_fields,
})  # fmt: skip
# Forwarded only for a single rollout: they shape the sampling, or make no sense in a vote.
FORWARDED_SINGLE = FORWARDED | {
    "temperature", "top_p", "top_k", "min_p", "seed", "n", "logprobs", "top_logprobs", "echo",
    "suffix", "stream_options",
}  # fmt: skip


_NEEDS = {"stream_options": "stream", "top_logprobs": "logprobs"}
"""Fields that are allowed only if the other one is true."""
# JSON Schema for: n must be 1 where the first rollout is streamed.
_FIRST_IS_ONE: dict[str, Any] = {
    "if": {
        "required": ["ratchet"],
        "properties": {
            "ratchet": {"required": ["stream"], "properties": {"stream": {"const": "first"}}}
        },
    },
    "then": {"properties": {"n": {"const": 1}}},
}


def _needs(field: str, other: str) -> dict[str, Any]:
    """JSON Schema for: `field` is allowed only if `other` is true."""
    given = {"required": [field], "properties": {field: {"not": {"type": "null"}}}}
    return {"if": given, "then": {"required": [other], "properties": {other: {"const": True}}}}


def _add_rules(schema: dict[str, Any]) -> None:
    """Say in a request's schema which fields depend on others."""
    needs = [_needs(*pair) for pair in _NEEDS.items() if pair[0] in schema["properties"]]
    form = FORM_RULES if "tools" in schema["properties"] else ()
    schema["allOf"] = [*needs, *form, _FIRST_IS_ONE]


class SamplingRequest(Strict):
    """The fields of both kinds of requests. An unknown field is an error that names it."""

    model_config = ConfigDict(json_schema_extra=_add_rules)

    model: str
    n: Positive = 1
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    max_tokens: Count | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    user: str | None = None
    ratchet: RatchetOptions = RatchetOptions()
    # vLLM's documented extra fields, which evaluation and load clients send.
    ignore_eos: bool | None = None
    min_tokens: Annotated[int, Field(ge=0, le=1_000_000), WHOLE] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1_000_000), WHOLE] | None = None
    min_p: Unit | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None
    skip_special_tokens: bool | None = None
    include_stop_str_in_output: bool | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field, other in _NEEDS.items():
            if getattr(self, field, None) is not None and not getattr(self, other):
                raise ValueError(f"{field} needs {other}: true")
        return self

    @property
    def prompt_for_engine(self) -> Prompt:
        """What the rollouts continue."""
        raise NotImplementedError

    @property
    def single(self) -> bool:
        """Whether to pass through: a single rollout, or what no vote can compare."""
        return self.ratchet.strategy == "single" or self.ratchet.rollouts == 1

    def answer(self, usual: AnswerChoice) -> AnswerChoice:
        """How the answers of its rollouts are read: as `usual`, unless the request says."""
        return self.ratchet.answer or usual

    @property
    def legacy(self) -> bool:
        """Whether calls are replied with in the form of `functions`."""
        return False

    @property
    def bends_sampling(self) -> bool:
        """Whether the engine keeps rollouts to a grammar."""
        return False

    @property
    def token_limit(self) -> int | None:
        """Most tokens a rollout may have, if the client sets a limit."""
        return self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """Alternatives to return for each token; None for no log-probabilities at all."""
        raise NotImplementedError

    @property
    def opted_out(self) -> bool:
        """Whether the request forbids learning from it."""
        return not self.ratchet.train

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def counts_along(self) -> bool:
        """Whether each chunk of a stream has the usage so far."""
        return self.includes_usage and bool(
            self.stream_options and self.stream_options.continuous_usage_stats
        )

    @property
    def alters_sampling(self) -> bool:
        """Whether rollouts come from another distribution than the model's own."""
        penalties = self.presence_penalty or self.frequency_penalty or self.logit_bias
        forced = self.ignore_eos or self.min_tokens
        return bool(penalties or forced) or (self.repetition_penalty or 1.0) != 1.0

    def new_id(self, prefix: str) -> str:
        """An id for its reply."""
        return prefix + uuid.uuid4().hex

    def forwarded(self, names: frozenset[str]) -> dict[str, Any]:
        """The named fields that the client set."""
        given = self.model_dump(include=set(names) & self.model_fields_set, exclude_none=True)
        if "max_completion_tokens" in given:  # the newer name wins
            given.pop("max_tokens", None)
        return given


class ChatRequest(ReplyForm, SamplingRequest):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None
    store: bool | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: str | None = None

    @property
    def prompt_for_engine(self) -> Prompt:
        return in_todays_form([message.model_dump(exclude_unset=True) for message in self.messages])

    def answer(self, usual: AnswerChoice) -> AnswerChoice:
        return self.ratchet.answer or self.form_answer or usual

    @property
    def token_limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def opted_out(self) -> bool:
        return super().opted_out or self.store is False

    def forwarded(self, names: frozenset[str]) -> dict[str, Any]:
        form = frozenset(ReplyForm.model_fields)
        return super().forwarded(names - form) | (self.form_options() if form <= names else {})


class TextRequest(SamplingRequest):
    """`POST /v1/completions`: the prompt goes to the model as it is, without a chat template."""

    prompt: NonEmpty | Annotated[list[str], Field(min_length=1, max_length=1)]
    """One prompt a request."""
    logprobs: TopLogprobs | None = None
    echo: bool | None = None
    suffix: str | None = None

    @property
    def prompt_for_engine(self) -> Prompt:
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]

    @property
    def single(self) -> bool:
        return super().single or bool(self.echo) or self.suffix is not None

    @property
    def wanted_logprobs(self) -> int | None:
        return self.logprobs


class FeedbackRequest(Strict):
    """`POST /v1/feedback`: either the right answer, or a verdict on the one given."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [one],
                 "properties": {one: {"not": {"type": "null"}}, other: {"type": "null"}}}
                for one, other in (("label", "correct"), ("correct", "label"))
            ]
        }
    )  # fmt: skip

    completion_id: Annotated[str, Field(min_length=1, max_length=128)]
    """The `id` of the voted reply."""
    label: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    """The right answer."""
    correct: bool | None = None
    """Whether the answer given was right."""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.label is None) == (self.correct is None):
            raise ValueError("give either label or correct")
        return self
