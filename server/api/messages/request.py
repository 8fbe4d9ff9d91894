"""`POST /v1/messages` and `/v1/messages/count_tokens`: what clients send, and the chat that it
stands for.

https://docs.claude.com/en/api/messages
"""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from server.api.field_rules.messages import COUNT_TOKENS, MESSAGES
from server.api.fields import MAX_MESSAGES, Count, Name, NonEmpty, RatchetOptions
from server.api.messages.content import Texts, Turn
from server.api.messages.options import (
    Choice,
    ClientTool,
    JsonFormat,
    Metadata,
    OutputConfig,
    Thinking,
)
from server.api.messages.turns import messages_of
from server.api.messages.writer import MessageWriter
from server.api.request_parts.engine_extras import CommonExtras
from server.api.request_parts.grammar import Shape
from server.api.surfaces.asked import Asked, SurfaceRequest, Translated
from server.api.tools import MAX_TOOLS

_NAMES = {
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "response_format": "output_config.format",
    "reasoning_effort": "output_config.effort",
    "tools": "tools",
    "user": "metadata.user_id",
}
"""A chat's fields by the names that a Message has for them."""
_ID_PREFIX = "msg_"
_COUNTED = {"include_usage": True, "continuous_usage_stats": True}
"""A message's first event has the prompt's tokens."""


# JSON Schema of: a tool that must be called must be offered.
_FORCED: Mapping[str, Any] = {
    "if": {
        "required": ["tool_choice"],
        "properties": {
            "tool_choice": {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"enum": ["any", "tool"]}},
            }
        },
    },
    "then": {
        "required": ["tools"],
        "properties": {"tools": {"type": "array", "minItems": 1}},
    },
}


class CountTokensRequest(SurfaceRequest):
    """A conversation whose tokens are to be counted."""

    table = COUNT_TOKENS
    rules = (_FORCED,)

    model: Name
    messages: Annotated[list[Turn], Field(fail_fast=True, min_length=1, max_length=MAX_MESSAGES)]
    system: Texts | None = None
    tools: Annotated[list[ClientTool], Field(fail_fast=True, max_length=MAX_TOOLS)] | None = None
    tool_choice: Choice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: JsonFormat | None = None
    """The older place of `output_config.format`."""
    chat_template_kwargs: Shape | None = None

    @property
    def chat(self) -> Translated:
        """The chat that this stands for. Raises ApiError."""
        return Translated.of(self._chat(), _NAMES)

    def asked(self) -> Asked:
        return Asked(self.chat, names=_NAMES)

    def _chat(self) -> dict[str, Any]:
        """The fields of the chat, None for what it does not have."""
        config, choice = self.output_config or OutputConfig(), self.tool_choice
        shape = config.format or self.output_format
        serial = choice is not None and choice.disable_parallel_tool_use
        template, effort = self.chat_template_kwargs, config.effort
        match self.thinking:
            case Thinking(type="disabled"):
                effort = "none"
            case Thinking(type="enabled"):
                template = {"enable_thinking": True, **(template or {})}
            case _:
                pass
        return {
            "reply_id": _ID_PREFIX + uuid.uuid4().hex,
            "model": self.model,
            "messages": messages_of(self.system, self.messages),
            "tools": [tool.for_chat() for tool in self.tools or ()] or None,
            "tool_choice": None if choice is None else choice.for_chat(),
            "parallel_tool_calls": False if serial else None,
            "response_format": None if shape is None else shape.for_chat(),
            "reasoning_effort": effort,
            "chat_template_kwargs": template,
        }


class MessagesRequest(CommonExtras, CountTokensRequest):
    """A conversation whose next turn is asked for."""

    table = MESSAGES

    max_tokens: Count
    stop_sequences: Annotated[list[NonEmpty], Field(fail_fast=True, max_length=4)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    stream: bool | None = None
    metadata: Metadata | None = None
    ratchet: RatchetOptions = RatchetOptions()

    def asked(self) -> Asked:
        chat = self.chat
        return Asked(chat, MessageWriter(chat.reply_id, self.model), _NAMES)

    def _chat(self) -> dict[str, Any]:
        return {
            **super()._chat(),
            **{name: getattr(self, name) for name in CommonExtras.model_fields},
            "max_completion_tokens": self.max_tokens,
            "stop": self.stop_sequences,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "stream": self.stream,
            "stream_options": _COUNTED if self.stream else None,
            "user": None if self.metadata is None else self.metadata.user_id,
            "ratchet": self.ratchet,
        }
