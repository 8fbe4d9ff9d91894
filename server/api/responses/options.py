"""The parts of a Responses request that say how to reply: tools, format, reasoning."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from server.api.fields import NonEmpty
from server.api.request_parts.part import Part
from server.api.surfaces.by_type import Json, by_type

_HOSTED = "is not offered here: tools are functions, which the client runs"


class FunctionTool(Part):
    """A function that the model may call."""

    type: Literal["function"]
    name: NonEmpty
    description: str | None = None
    parameters: Json | None = None
    strict: bool | None = None

    def for_chat(self) -> dict[str, Any]:
        """The tool in a chat's form."""
        function = self.model_dump(exclude={"type"}, exclude_none=True)
        return {"type": "function", "function": function}


Tool = Annotated[FunctionTool, by_type(FunctionTool, refusal=_HOSTED)]


class ChosenFunction(Part):
    """The function that must be called."""

    type: Literal["function"]
    name: NonEmpty


class AllowedTools(Part):
    """The tools that may be called, or one of which must be."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[Json], Field(fail_fast=True, max_length=128)]


WORDS = ("none", "auto", "required")
ToolChoice = Annotated[
    Literal["none", "auto", "required"] | ChosenFunction | AllowedTools,
    by_type(ChosenFunction, AllowedTools, refusal=_HOSTED, words=WORDS),
]


def offered(tools: Sequence[FunctionTool], choice: Any) -> Sequence[FunctionTool]:
    """The tools that may be called under a choice."""
    if not isinstance(choice, AllowedTools):
        return tools
    names = [tool.get("name") for tool in choice.tools]
    return [tool for tool in tools if tool.name in names]


def chosen_for_chat(choice: Any) -> str | Mapping[str, Any] | None:
    """The choice in a chat's form; its tools are the `offered` ones."""
    match choice:
        case ChosenFunction(name=name):
            return {"type": "function", "function": {"name": name}}
        case AllowedTools(mode=mode):
            return mode
        case _:
            return choice


class PlainText(Part):
    """Text of any form."""

    type: Literal["text"]


class AnyJson(Part):
    """Some JSON object."""

    type: Literal["json_object"]


class SchemaJson(Part):
    """JSON that a schema takes."""

    type: Literal["json_schema"]
    name: NonEmpty
    shape: Json = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


Format = Annotated[
    PlainText | AnyJson | SchemaJson,
    by_type(PlainText, AnyJson, SchemaJson, refusal="is no format of a text"),
]


class TextOptions(Part):
    """`text`. How wordy replies are is the model's own affair: `verbosity` is ignored."""

    format: Format | None = None

    def for_chat(self) -> dict[str, Any] | None:
        """`response_format`, unless any text will do."""
        match self.format:
            case SchemaJson():
                schema = self.format.model_dump(exclude={"type"}, exclude_none=True, by_alias=True)
                return {"type": "json_schema", "json_schema": schema}
            case AnyJson():
                return {"type": "json_object"}
            case _:
                return None


class ReasoningOptions(Part):
    """`reasoning`. Nothing is summed up here: `summary` is ignored."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
