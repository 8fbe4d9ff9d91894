"""vLLM's documented extra fields, which evaluation and load clients send: passed on as they are."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from server.api.fields import (
    WHOLE,
    Count,
    Name,
    Strict,
    Template,
    TokenId,
    TopLogprobs,
    Unit,
)
from server.api.request_parts.grammar import MAX_FORMAT_BYTES, Grammar, within

_Tokens = Annotated[list[TokenId], Field(fail_fast=True)]
_Budget = Annotated[int, Field(ge=-1, lt=2**31), WHOLE]
_Object = Annotated[dict[str, Any], within(MAX_FORMAT_BYTES)]


def _no_transfer(arguments: dict[str, Any]) -> dict[str, Any]:
    """What engines would hand to one another is refused under this name too."""
    if arguments.keys() & {"kv_transfer_params", "ec_transfer_params"}:
        raise ValueError("engines do not hand work to one another here")
    return arguments


_Argument = str | int | float | Annotated[list[str | int | float], Field(fail_fast=True)]
_Arguments = Annotated[dict[str, _Argument], AfterValidator(_no_transfer), within(MAX_FORMAT_BYTES)]


class CommonExtras(Strict):
    """Those of every surface."""

    top_k: Annotated[int, Field(ge=-1, le=1_000_000), WHOLE] | None = None
    cache_salt: Annotated[str, Field(min_length=1, max_length=1_024)] | None = None
    watermarking: bool | None = None
    vllm_xargs: _Arguments | None = None


class SamplingExtras(CommonExtras):
    """Those of Responses too."""

    min_p: Unit | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None
    ignore_eos: bool | None = None
    stop_token_ids: Annotated[_Tokens, Field(max_length=1_024)] | None = None
    include_stop_str_in_output: bool | None = None
    skip_special_tokens: bool | None = None


class EngineExtras(SamplingExtras, Grammar):
    """Those of both kinds of completion."""

    min_tokens: Annotated[int, Field(ge=0, le=1_000_000), WHOLE] | None = None
    length_penalty: Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)] | None = None
    use_beam_search: bool | None = None
    spaces_between_special_tokens: bool | None = None
    add_special_tokens: bool | None = None
    truncate_prompt_tokens: _Budget | None = None
    truncation_side: Literal["left", "right"] | None = None
    allowed_token_ids: Annotated[_Tokens, Field(max_length=262_144)] | None = None
    bad_words: Annotated[list[Name], Field(fail_fast=True, max_length=1_024)] | None = None
    prompt_logprobs: TopLogprobs | None = None
    logprob_token_ids: Annotated[_Tokens, Field(max_length=128)] | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    thinking_token_budget: _Budget | None = None
    repetition_detection: _Object | None = None
    stream_interval: Count | None = None

    @property
    def tokens_an_event(self) -> int:
        """Most tokens that an event of a stream brings."""
        return self.stream_interval or 1


class ChatExtras(Strict):
    """Those of chats alone."""

    include_reasoning: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    documents: Annotated[list[dict[str, str]], Field(fail_fast=True, max_length=1_024)] | None = (
        None
    )
    chat_template: Template | None = None
    chat_template_kwargs: _Object | None = None
    echo: bool | None = None
    return_prompt_text: bool | None = None
