"""The parts of a Messages request that say how to reply: tools, thinking, format."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from server.api.fields import NonEmpty, User
from server.api.request_parts.part import Part
from server.api.surfaces.by_type import Json, by_type

_OF_THEIRS = "is not offered here: a tool has an input_schema, and the client runs it"
Effort = Literal["low", "medium", "high", "xhigh", "max"]


class Tool(Part):
    """A tool that the model may call."""

    type: Literal["custom"] | None = None
    name: NonEmpty
    input_schema: Json
    description: str | None = None
    strict: bool | None = None

    def for_chat(self) -> dict[str, Any]:
        """The tool in a chat's form."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": {"type": "object", **self.input_schema},
            "strict": self.strict,
        }
        given = {name: value for name, value in function.items() if value is not None}
        return {"type": "function", "function": given}


ClientTool = Annotated[Tool, by_type(Tool, refusal=_OF_THEIRS, untyped=Tool)]


class AnyChoice(Part):
    """Some tool may be called, must be called, or none."""

    type: Literal["auto", "any", "none"]
    disable_parallel_tool_use: bool | None = None

    def for_chat(self) -> str:
        """The choice in a chat's form."""
        return {"any": "required"}.get(self.type, self.type)


class ToolChoice(Part):
    """This tool must be called."""

    type: Literal["tool"]
    name: NonEmpty
    disable_parallel_tool_use: bool | None = None

    def for_chat(self) -> Mapping[str, Any]:
        """The choice in a chat's form."""
        return {"type": "function", "function": {"name": self.name}}


Choice = Annotated[
    AnyChoice | ToolChoice, by_type(AnyChoice, ToolChoice, refusal="is no choice of a tool")
]


class Thinking(Part):
    """Whether to reason before the answer. How many tokens that may take is the model's own affair:
    `budget_tokens` is ignored, `max_tokens` holds."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]


class JsonFormat(Part):
    """Replies are JSON that a schema takes."""

    type: Literal["json_schema"]
    shape: Json = Field(alias="schema")

    def for_chat(self) -> dict[str, Any]:
        """`response_format` of a chat."""
        return {"type": "json_schema", "json_schema": {"name": "reply", "schema": self.shape}}


class OutputConfig(Part):
    """`output_config`."""

    effort: Effort | None = None
    format: JsonFormat | None = None


class Metadata(Part):
    """`metadata`."""

    user_id: User | None = None
