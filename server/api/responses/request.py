"""`POST /v1/responses`: what clients send, and the chat that it stands for.

https://platform.openai.com/docs/api-reference/responses/create
"""

import time
import uuid
from typing import Annotated, Any

from pydantic import Field

from server.api.field_rules.responses import RESPONSES
from server.api.fields import (
    MAX_MESSAGES,
    Count,
    MetadataKey,
    MetadataValue,
    Name,
    RatchetOptions,
    TopLogprobs,
    User,
)
from server.api.responses.extras import Extras
from server.api.responses.items import Item, messages_of
from server.api.responses.options import (
    ReasoningOptions,
    TextOptions,
    Tool,
    ToolChoice,
    chosen_for_chat,
    offered,
)
from server.api.responses.reply import ID_PREFIX, Response
from server.api.responses.writer import ResponseWriter
from server.api.surfaces.asked import Asked, SurfaceRequest, Translated
from server.api.surfaces.by_type import LIST, TEXT, TEXT_OR_LIST
from server.api.tools import MAX_TOOLS, forced

_NAMES = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "tools": "tools",
}
"""A chat's fields by the names that a Response has for them."""
_OBJECTS = {"tools", "tool_choice", "text", "reasoning"}
"""Fields that are more than plain values, which is what takes time to repeat."""
_LOGPROBS = "message.output_text.logprobs"


class ResponsesRequest(Extras, SurfaceRequest):
    """One turn of a conversation, all of which is in the request: nothing is stored here."""

    table = RESPONSES
    rules = (forced("tool_choice", "tools"),)

    model: Name
    input: Annotated[
        Annotated[str, TEXT]
        | Annotated[list[Item], Field(fail_fast=True, min_length=1, max_length=MAX_MESSAGES), LIST],
        TEXT_OR_LIST,
    ]
    instructions: str | None = None
    tools: Annotated[list[Tool], Field(fail_fast=True, max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    max_output_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    include: Annotated[list[Name], Field(fail_fast=True, max_length=64)] | None = None
    """`message.output_text.logprobs` is honoured; the rest asks for what there is not here."""
    top_logprobs: TopLogprobs | None = None
    stream: bool | None = None
    store: bool | None = None
    """False keeps the request out of learning."""
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] | None = None
    user: User | None = None
    ratchet: RatchetOptions = RatchetOptions()

    def asked(self) -> Asked:
        response = Response(ID_PREFIX + uuid.uuid4().hex, int(time.time()), self._echo())
        tools = [tool.for_chat() for tool in offered(self.tools or (), self.tool_choice)]
        logprobs = bool(self.top_logprobs) or _LOGPROBS in (self.include or ())
        extras = {name: getattr(self, name) for name in Extras.model_fields}
        chat = {
            **extras,
            "reply_id": response.id,
            "model": self.model,
            "messages": messages_of(self.instructions, self.input),
            "tools": tools or None,
            "tool_choice": chosen_for_chat(self.tool_choice),
            "parallel_tool_calls": self.parallel_tool_calls,
            "response_format": None if self.text is None else self.text.for_chat(),
            "reasoning_effort": None if self.reasoning is None else self.reasoning.effort,
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "logprobs": logprobs or None,
            "top_logprobs": self.top_logprobs if logprobs else None,
            "stream": self.stream,
            "stream_options": {"include_usage": True} if self.stream else None,
            "store": self.store,
            "user": self.user,
            "ratchet": self.ratchet,
        }
        return Asked(Translated.of(chat, _NAMES), ResponseWriter(response), _NAMES)

    def _echo(self) -> dict[str, Any]:
        """The fields of the reply that repeat the request."""
        usual: dict[str, Any] = {
            "model": self.model,
            "instructions": None,
            "tools": [],
            "tool_choice": "auto",
            "parallel_tool_calls": True,
            "text": {"format": {"type": "text"}},
            "reasoning": {"effort": None, "summary": None},
            "max_output_tokens": None,
            "temperature": 1.0,
            "top_p": 1.0,
            "top_logprobs": 0,
            "store": True,
            "metadata": {},
            "user": None,
        }
        names = usual.keys() & self.model_fields_set
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if given.keys() & _OBJECTS:
            given = self.model_dump(
                include=set(given), exclude_unset=True, exclude_none=True, by_alias=True
            )
        return {
            **usual,
            **given,
            "background": False,
            "max_tool_calls": None,
            "previous_response_id": None,
            "service_tier": "default",
            "truncation": "disabled",
        }
