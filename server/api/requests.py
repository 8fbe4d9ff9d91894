"""Completion requests as the OpenAI API reference defines them, plus the `ratchet` extension.

https://platform.openai.com/docs/api-reference/chat/create and …/completions/create
"""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import ConfigDict, Field, model_validator

from rewards.answer_choice import AnswerChoice
from server.api.field_rules.chat import CHAT
from server.api.field_rules.completions import COMPLETIONS
from server.api.field_rules.rule import (
    FieldTable,
    alters_sampling,
    makes_single,
    passed_on,
    schema_of,
)
from server.api.fields import (
    WHOLE,
    Count,
    LogitBias,
    MetadataKey,
    MetadataValue,
    Name,
    Penalty,
    Positive,
    RatchetOptions,
    Stop,
    StreamOptions,
    TopLogprobs,
    User,
    nullable,
)
from server.api.functions import in_todays_form
from server.api.parsing import FieldInvalid
from server.api.request_parts.chat_message import Messages
from server.api.request_parts.engine_extras import ChatExtras, EngineExtras
from server.api.request_parts.text_prompt import TextPrompt
from server.api.tools import FORM_RULES, ReplyForm
from server.engine.base import Prompt, each_prompt, size_of

FORWARDED = passed_on(CHAT, single=False) | passed_on(COMPLETIONS, single=False)
"""Fields that go to the engine whatever the strategy."""
FORWARDED_SINGLE = passed_on(CHAT, single=True) | passed_on(COMPLETIONS, single=True)
"""Those that go with a single rollout: they shape the sampling, or make no sense in a vote too."""
_ENDLESS = 32_768
"""Tokens that a rollout is taken to have which ends by neither a limit nor itself."""
_LEAST_TOP_P = 1e-6
"""OpenAI's `top_p` may be 0, which means the likeliest token alone; vLLM's may not."""

_Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

_NEEDS = {"top_logprobs": "logprobs"}
"""Fields that are allowed only if the other one is true."""
# JSON Schema for: n must be 1 where the first rollout is streamed.
_FIRST_IS_ONE: dict[str, Any] = {
    "if": {
        "required": ["ratchet"],
        "properties": {
            "ratchet": {"required": ["stream"], "properties": {"stream": {"const": "first"}}}
        },
    },
    "then": {"properties": {"n": {"enum": [1, None]}}},
}


def _needs(field: str, other: str) -> dict[str, Any]:
    """JSON Schema for: `field` is allowed only if `other` is true."""
    given = {"required": [field], "properties": {field: {"not": {"type": "null"}}}}
    return {"if": given, "then": {"required": [other], "properties": {other: {"const": True}}}}


def _add_rules(schema: dict[str, Any], kind: type["SamplingRequest"]) -> None:
    """Say in a request's schema which fields depend on others, and what its table says."""
    nullable(schema)
    schema["properties"] |= schema_of(kind.table)
    needs = [_needs(*pair) for pair in _NEEDS.items() if pair[0] in schema["properties"]]
    form = FORM_RULES if "tools" in schema["properties"] else ()
    schema["allOf"] = [*needs, *form, _FIRST_IS_ONE]


class SamplingRequest(EngineExtras):
    """The fields of both kinds of requests. An unknown field is an error that names it."""

    model_config = ConfigDict(json_schema_extra=_add_rules)

    table: ClassVar[FieldTable]
    """What becomes of each field; `parse` reads bodies by it."""

    model: Name
    n: Positive = 1
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    max_tokens: Count | None = None
    stop: Stop | Annotated[list[Stop], Field(fail_fast=True, max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    user: User | None = None
    ratchet: RatchetOptions = RatchetOptions()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field, other in _NEEDS.items():
            if getattr(self, field, None) is not None and not getattr(self, other):
                raise FieldInvalid(field, f"needs {other}: true")
        return self

    @property
    def prompt_for_engine(self) -> Prompt:
        """What the rollouts continue."""
        raise NotImplementedError

    @property
    def parts(self) -> "Sequence[SamplingRequest]":
        """A request for each prompt: this one, unless it has several."""
        return [self]

    @property
    def single(self) -> bool:
        """Whether to pass through: a single rollout, or what no vote can give."""
        asked = self.ratchet.strategy == "single" or self.ratchet.rollouts == 1
        return asked or makes_single(self.table, self._given)

    @property
    def _given(self) -> dict[str, Any]:
        """The fields that the client set."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    def answer(self, usual: AnswerChoice) -> AnswerChoice:
        """How the answers of its rollouts are read: as `usual`, unless the request says."""
        return self.ratchet.answer or self.form_answer or usual

    @property
    def legacy(self) -> bool:
        """Whether calls are replied with in the form of `functions`."""
        return False

    @property
    def token_limit(self) -> int | None:
        """Most tokens a rollout may have, if the client sets a limit."""
        return self.max_tokens

    @property
    def least_tokens(self) -> int:
        """Tokens that each of its rollouts may be made to have: all that it may, where it can be
        kept from ending by itself."""
        most = _ENDLESS if self.token_limit is None else self.token_limit
        held = self.ignore_eos or self.logit_bias or self.allowed_token_ids or self.bad_words
        return most if held else min(self.min_tokens or 0, most)

    @property
    def size(self) -> int:
        """About how many characters the engine reads for it, a token counting as four."""
        return size_of(self.prompt_for_engine)

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
        return alters_sampling(self.table, self._given)

    def new_id(self, prefix: str) -> str:
        """An id for its reply."""
        return prefix + uuid.uuid4().hex

    def forwarded(self, names: frozenset[str]) -> dict[str, Any]:
        """The named fields that the client set."""
        given = self.model_dump(include=set(names) & self.model_fields_set, exclude_none=True)
        if "max_completion_tokens" in given:  # the newer name wins
            given.pop("max_tokens", None)
        if not self.stream:
            given.pop("stream_options", None)
        if given.get("top_p") == 0:
            given["top_p"] = _LEAST_TOP_P
        return given


class ChatRequest(ReplyForm, ChatExtras, SamplingRequest):
    """`POST /v1/chat/completions`."""

    table = CHAT

    messages: Messages
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None
    reasoning_effort: _Effort | None = None
    store: bool | None = None
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] | None = None

    @property
    def prompt_for_engine(self) -> Prompt:
        return in_todays_form([message.for_engine for message in self.messages])

    @property
    def token_limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def opted_out(self) -> bool:
        return super().opted_out or self.store is False

    @property
    def size(self) -> int:
        beside = [each for each in (self.offered_tools, self.documents) if each]
        said = sum(message.size for message in self.messages)
        return said + (len(orjson.dumps(beside)) if beside else 0)

    def forwarded(self, names: frozenset[str]) -> dict[str, Any]:
        form = frozenset(ReplyForm.model_fields)
        return super().forwarded(names - form) | (self.form_options() if form <= names else {})


class TextRequest(SamplingRequest):
    """`POST /v1/completions`: the prompt goes to the model as it is, without a chat template."""

    table = COMPLETIONS

    prompt: TextPrompt
    """A text or token ids, or several of either: each of them is answered."""
    max_tokens: Annotated[int, Field(ge=0, le=1_000_000), WHOLE] | None = None
    """0 writes nothing: with `echo`, for the log-probabilities of the prompt."""
    logprobs: TopLogprobs | None = None
    echo: bool | None = None
    suffix: Annotated[str, Field(max_length=131_072)] | None = None

    @property
    def prompt_for_engine(self) -> Prompt:
        prompts = each_prompt(self.prompt)
        return prompts[0] if len(prompts) == 1 else self.prompt

    @property
    def size(self) -> int:
        return size_of(self.prompt)

    @property
    def parts(self) -> "Sequence[TextRequest]":
        """A request for each of the prompts."""
        prompts = each_prompt(self.prompt)
        if len(prompts) == 1:
            return [self]
        return [self.model_copy(update={"prompt": prompt}) for prompt in prompts]

    @property
    def single(self) -> bool:
        return super().single or self.max_tokens == 0

    @property
    def wanted_logprobs(self) -> int | None:
        return self.logprobs
