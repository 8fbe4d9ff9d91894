"""What vLLM's own Responses take beside OpenAI's fields: passed on as a chat's."""

from typing import Annotated

from pydantic import Field

from server.api.fields import WHOLE, LogitBias, Penalty, Stop, Strict, TokenId, Unit
from server.api.request_parts.grammar import Shape


class Extras(Strict):
    """Fields that a chat has as well."""

    stop: Stop | Annotated[list[Stop], Field(fail_fast=True, max_length=4)] | None = None
    stop_token_ids: Annotated[list[TokenId], Field(fail_fast=True, max_length=1_024)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1_000_000), WHOLE] | None = None
    min_p: Unit | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None
    logit_bias: LogitBias | None = None
    ignore_eos: bool | None = None
    skip_special_tokens: bool | None = None
    include_stop_str_in_output: bool | None = None
    include_reasoning: bool | None = None
    chat_template_kwargs: Shape | None = None
    structured_outputs: Shape | None = None
    cache_salt: Annotated[str, Field(min_length=1, max_length=1_024)] | None = None
    watermarking: bool | None = None
    vllm_xargs: Shape | None = None
