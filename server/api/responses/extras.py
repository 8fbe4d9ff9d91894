"""What vLLM's own Responses take beside OpenAI's fields: passed on as a chat's."""

from typing import Annotated

from pydantic import Field

from server.api.fields import WHOLE, LogitBias, Penalty, Stop
from server.api.request_parts.engine_extras import SamplingExtras
from server.api.request_parts.grammar import Shape


class Extras(SamplingExtras):
    """Fields that a chat has as well."""

    stop: Stop | Annotated[list[Stop], Field(fail_fast=True, max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    include_reasoning: bool | None = None
    chat_template_kwargs: Shape | None = None
    structured_outputs: Shape | None = None
