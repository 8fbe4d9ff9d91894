"""What a chat request says of the form of its replies: tools, JSON, and the older `functions`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, cast

import orjson
from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from rewards.answer_choice import AnswerChoice
from server.api.fields import Strict

MAX_TOOLS = 128
MAX_TOOLS_BYTES, MAX_FORMAT_BYTES = 256 << 10, 128 << 10

_JSON_FORMATS = frozenset({"json_object", "json_schema"})
_T = TypeVar("_T")


def _within(limit: int) -> Callable[[_T], _T]:
    """A check that a field's JSON has at most `limit` bytes, and that we can write it again."""

    def check(value: _T) -> _T:
        try:
            size = len(orjson.dumps(value))
        except TypeError:
            raise ValueError("nested too deeply") from None
        if size > limit:
            raise ValueError(f"at most {limit} bytes of JSON")
        return value

    return check


def _have_names(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for at, tool in enumerate(tools):
        if not isinstance(kind := tool.get("type", "function"), str):
            raise ValueError(f"the type of tool {at} is no text")
        if kind == "function" and not _name_of(tool.get("function")):
            raise ValueError(f"tool {at} has no function.name")
    return tools


def _are_functions(functions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for at, function in enumerate(functions):
        if not _name_of(function):
            raise ValueError(f"function {at} has no name")
    return functions


def _has_type(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("type"), str):
        raise ValueError("type is missing")
    return value


# What the checks of this file demand, as JSON Schema.
_NAMED: dict[str, Any] = {
    "type": "object", "required": ["name"],
    "properties": {"name": {"type": "string", "minLength": 1}},
}  # fmt: skip
_TOOL: dict[str, Any] = {
    "type": "object",
    "properties": {"type": {"type": "string"}},
    "if": {"properties": {"type": {"const": "function"}}},
    "then": {"required": ["function"], "properties": {"function": _NAMED}},
}
_TYPED: dict[str, Any] = {
    "type": "object", "required": ["type"], "properties": {"type": {"type": "string"}},
}  # fmt: skip
_NULL = {"type": "null"}


def _listed(item: dict[str, Any]) -> WithJsonSchema:
    several = {"type": "array", "maxItems": MAX_TOOLS, "items": item}
    return WithJsonSchema({"anyOf": [several, _NULL], "default": None})


def _chosen(words: Sequence[str], one: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"enum": list(words)}, one, _NULL], "default": None})


def _forced(choice: str, offered: str) -> dict[str, Any]:
    """JSON Schema for: what forces a call needs something to call."""
    forced = {"not": {"enum": [None, "none", "auto"]}}
    some = {"type": "array", "minItems": 1}
    return {
        "if": {"required": [choice], "properties": {choice: forced}},
        "then": {"required": [offered], "properties": {offered: some}},
    }


FORM_RULES: Sequence[dict[str, Any]] = (
    _forced("tool_choice", "tools"),
    _forced("function_call", "functions"),
    {"not": {
        "required": ["tools", "functions"],
        "properties": {key: {"type": "array", "minItems": 1} for key in ("tools", "functions")},
    }},
)  # fmt: skip
"""JSON Schema of how the fields depend on one another."""

_TOOL_WORDS, _FUNCTION_WORDS = ("none", "auto", "required"), ("none", "auto")
_Tools = Annotated[
    list[dict[str, Any]],
    Field(max_length=MAX_TOOLS),
    AfterValidator(_within(MAX_TOOLS_BYTES)),
]
_Shape = Annotated[dict[str, Any], AfterValidator(_within(MAX_FORMAT_BYTES))]


class ReplyForm(Strict):
    """The fields that shape a chat's replies."""

    tools: Annotated[Annotated[_Tools, AfterValidator(_have_names)] | None, _listed(_TOOL)] = None
    tool_choice: Annotated[
        str | dict[str, Any] | None, _chosen(_TOOL_WORDS, {"type": "object"})
    ] = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[
        Annotated[_Tools, AfterValidator(_are_functions)] | None, _listed(_NAMED)
    ] = None
    """The older form of `tools`; the reply is in the older form too."""
    function_call: Annotated[str | dict[str, Any] | None, _chosen(_FUNCTION_WORDS, _NAMED)] = None
    response_format: Annotated[
        Annotated[_Shape, AfterValidator(_has_type)] | None,
        WithJsonSchema({"anyOf": [_TYPED, _NULL], "default": None}),
    ] = None
    structured_outputs: _Shape | None = None
    """vLLM's own: a grammar for the reply."""

    @field_validator("functions")
    @classmethod
    def _one_form(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("tools"):
            raise ValueError("give either tools or functions")
        return value

    @field_validator("tool_choice", "function_call")
    @classmethod
    def _can_be_chosen(cls, value: Any, info: ValidationInfo) -> Any:
        older = info.field_name == "function_call"
        offered = "functions" if older else "tools"
        words = _FUNCTION_WORDS if older else _TOOL_WORDS
        if isinstance(value, str) and value not in words:
            raise ValueError(f"must be {', '.join(words)} or an object that names one")
        if older and not isinstance(value, str | None) and not _name_of(value):
            raise ValueError("name is missing")
        forced = value not in (None, "none", "auto")
        if forced and offered in info.data and not info.data[offered]:
            raise ValueError(f"needs {offered}")
        return value

    @property
    def legacy(self) -> bool:
        """Whether the client speaks of functions, and wants to be answered so."""
        return bool(self.functions)

    @property
    def offered_tools(self) -> Sequence[Mapping[str, Any]]:
        """The tools, in today's form."""
        if self.tools:
            return self.tools
        return [{"type": "function", "function": one} for one in self.functions or ()]

    @property
    def chosen_tool(self) -> str | Mapping[str, Any] | None:
        """`tool_choice`, in today's form."""
        if self.tools or not isinstance(self.function_call, dict):
            return self.tool_choice if self.tools else self.function_call
        return {"type": "function", "function": {"name": self.function_call["name"]}}

    @property
    def may_call(self) -> bool:
        """Whether a reply may call tools."""
        return bool(self.offered_tools) and self.chosen_tool != "none"

    @property
    def form_answer(self) -> AnswerChoice | None:
        """How answers are read that have this form; None if it does not say."""
        if self.may_call:
            return AnswerChoice("tool_calls", parallel=self.parallel_tool_calls is not False)
        formats = self.response_format or {}
        grammar = self.structured_outputs or {}
        if formats.get("type") in _JSON_FORMATS or grammar.keys() & {"json", "json_object"}:
            return AnswerChoice("json")
        return None

    @property
    def bends_sampling(self) -> bool:
        """Whether the engine keeps rollouts to a grammar: vLLM 0.32 does so for a format, a forced
        or strict tool, and where there may be one call at most."""
        if self.structured_outputs is not None:
            return True
        if (self.response_format or {}).get("type", "text") != "text":
            return True
        if not self.may_call:
            return False
        forced = self.chosen_tool not in (None, "auto")
        functions = [tool.get("function") for tool in self.offered_tools]
        strict = any(cast("Any", f).get("strict") for f in functions if isinstance(f, dict))
        return forced or strict or self.parallel_tool_calls is False

    def form_options(self) -> dict[str, Any]:
        """The fields that shape replies as the engine takes them: without tools there is nothing to
        choose."""
        options: dict[str, Any] = {}
        if tools := self.offered_tools:
            options = {
                "tools": tools,
                "tool_choice": self.chosen_tool,
                "parallel_tool_calls": self.parallel_tool_calls,
            }
        options["response_format"] = self.response_format
        options["structured_outputs"] = self.structured_outputs
        return {name: value for name, value in options.items() if value is not None}


def _name_of(function: Any) -> str:
    """The name in a function's object, or nothing."""
    name: Any = cast("dict[str, Any]", function).get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else ""
