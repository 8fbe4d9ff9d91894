"""The chat request as the OpenAI API reference defines it, plus the `ratchet` extension."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class TextPart(_Strict):
    """A piece of text; the only kind of content part there is here."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One chat message. Fields beside content are passed to the engine's chat template."""

    model_config = ConfigDict(strict=True, extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None


class StreamOptions(_Strict):
    """OpenAI's `stream_options`."""

    include_usage: bool = False
    include_obfuscation: bool | None = None
    continuous_usage_stats: bool | None = None


class RatchetOptions(_Strict):
    """Our extension of the request; every field is optional."""

    rollouts: Annotated[int, Field(ge=1)] | None = None
    """Rollouts to vote with; 1 means plain proxying."""
    strategy: Literal["majority", "single"] = "majority"
    """`majority` votes over the rollouts' answers; `single` passes the request through."""
    stream: Literal["vote"] = "vote"
    """When streaming: wait for the vote, then send the winner."""
    train: bool = True
    """False keeps the request out of the rollout buffer."""


# Sent on to the engine as they are, whatever the strategy.
PASSED = (
    "max_tokens", "max_completion_tokens", "stop", "presence_penalty", "frequency_penalty",
    "logit_bias", "ignore_eos", "min_tokens", "repetition_penalty", "skip_special_tokens",
    "include_stop_str_in_output", "chat_template_kwargs",
)  # fmt: skip
# Sent on only when a single rollout is asked for: they shape the sampling or need one writer.
PASSED_SINGLE = (
    "temperature", "top_p", "top_k", "min_p", "seed", "n", "tools", "tool_choice",
    "parallel_tool_calls", "response_format", "logprobs", "top_logprobs",
)  # fmt: skip


class ChatRequest(_Strict):
    """`POST /v1/chat/completions`. Unknown fields are an error that names them."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    n: Annotated[int, Field(ge=1)] = 1
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    store: bool | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None
    ratchet: RatchetOptions = RatchetOptions()
    # vLLM's documented extras that evaluation and load clients send.
    ignore_eos: bool | None = None
    min_tokens: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    min_p: Unit | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None
    skip_special_tokens: bool | None = None
    include_stop_str_in_output: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream: true")
        for key, value in (self.metadata or {}).items():
            if len(key) > 64 or len(value) > 512:
                raise ValueError("metadata keys have at most 64 characters, values 512")
        return self

    @property
    def single(self) -> bool:
        """Whether to pass through: one rollout asked for, or a format that no vote can compare."""
        options = self.ratchet
        plain = options.strategy == "single" or options.rollouts == 1
        return plain or bool(self.tools) or self.response_format is not None

    @property
    def bends_sampling(self) -> bool:
        """Whether rollouts are drawn from something else than the model's own distribution."""
        penalties = self.presence_penalty or self.frequency_penalty or self.logit_bias
        forced = self.ignore_eos or self.min_tokens
        return bool(penalties or forced) or (self.repetition_penalty or 1.0) != 1.0

    def passed_on(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The named fields that the client set."""
        given = self.model_dump(include=set(names), exclude_none=True, exclude_unset=True)
        if "max_completion_tokens" in given:  # the newer name wins
            given.pop("max_tokens", None)
        return given

    def raw_messages(self) -> list[dict[str, Any]]:
        """Messages as the engine takes them."""
        return [message.model_dump(exclude_unset=True) for message in self.messages]
