"""What a chat request says of the form of its replies: tools, JSON, and the older `functions`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from rewards.answer_choice import AnswerChoice
from server.api.request_parts.grammar import Grammar, within

MAX_TOOLS = 128
MAX_TOOLS_BYTES = 256 << 10


def _have_names(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for at, tool in enumerate(tools):
        if tool.get("type", "function") != "function":
            raise ValueError(f"tool {at} is no function, the only type that is offered to models")
        if not _called(tool):
            raise ValueError(f"tool {at} has no function.name")
    return tools


def _are_functions(functions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for at, function in enumerate(functions):
        if not _name_of(function):
            raise ValueError(f"function {at} has no name")
    return functions


# What the checks of this file demand, as JSON Schema.
_NAMED: dict[str, Any] = {
    "type": "object", "required": ["name"],
    "properties": {"name": {"type": "string", "minLength": 1}},
}  # fmt: skip
_TOOL: dict[str, Any] = {
    "type": "object", "required": ["function"],
    "properties": {"type": {"const": "function"}, "function": _NAMED},
}  # fmt: skip
_ALLOWED: dict[str, Any] = {
    "type": "object", "required": ["type", "allowed_tools"],
    "properties": {
        "type": {"const": "allowed_tools"},
        "allowed_tools": {
            "type": "object", "required": ["mode", "tools"],
            "properties": {
                "mode": {"enum": ["auto", "required"]}, "tools": {"type": "array", "items": _TOOL},
            },
        },
    },
}  # fmt: skip
_CHOSEN = {"anyOf": [_TOOL, _ALLOWED]}
_NULL = {"type": "null"}


def _listed(item: dict[str, Any]) -> WithJsonSchema:
    several = {"type": "array", "maxItems": MAX_TOOLS, "items": item}
    return WithJsonSchema({"anyOf": [several, _NULL], "default": None})


def _chosen(words: Sequence[str], one: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"enum": list(words)}, one, _NULL], "default": None})


def forced(choice: str, offered: str) -> dict[str, Any]:
    """JSON Schema for: what forces a call needs something to call."""
    forced = {"not": {"enum": [None, "none", "auto"]}}
    some = {"type": "array", "minItems": 1}
    return {
        "if": {"required": [choice], "properties": {choice: forced}},
        "then": {"required": [offered], "properties": {offered: some}},
    }


FORM_RULES: Sequence[dict[str, Any]] = (
    forced("tool_choice", "tools"),
    forced("function_call", "functions"),
    {"not": {
        "required": ["tools", "functions"],
        "properties": {key: {"type": "array", "minItems": 1} for key in ("tools", "functions")},
    }},
)  # fmt: skip
"""JSON Schema of how the fields depend on one another."""

_TOOL_WORDS, _FUNCTION_WORDS = ("none", "auto", "required"), ("none", "auto")
_Tools = Annotated[
    list[dict[str, Any]],
    Field(fail_fast=True, max_length=MAX_TOOLS),
    within(MAX_TOOLS_BYTES),
]


class ReplyForm(Grammar):
    """The fields that shape a chat's replies."""

    tools: Annotated[Annotated[_Tools, AfterValidator(_have_names)] | None, _listed(_TOOL)] = None
    tool_choice: Annotated[str | dict[str, Any] | None, _chosen(_TOOL_WORDS, _CHOSEN)] = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[
        Annotated[_Tools, AfterValidator(_are_functions)] | None, _listed(_NAMED)
    ] = None
    """The older form of `tools`; the reply is in the older form too."""
    function_call: Annotated[str | dict[str, Any] | None, _chosen(_FUNCTION_WORDS, _NAMED)] = None

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
        if not isinstance(value, str | None):
            if older and not _name_of(value):
                raise ValueError("name is missing")
            if not older:
                _check_chosen(value)
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
        """The tools that may be called, in today's form."""
        if self.tools:
            allowed = self._allowed
            names = None if allowed is None else set(map(_called, allowed["tools"]))
            return [one for one in self.tools if names is None or _called(one) in names]
        return [{"type": "function", "function": one} for one in self.functions or ()]

    @property
    def chosen_tool(self) -> str | Mapping[str, Any] | None:
        """`tool_choice`, in today's form."""
        if self.tools and (allowed := self._allowed) is not None:
            mode: str = allowed["mode"]
            return mode
        if self.tools:
            return self.tool_choice
        if not isinstance(self.function_call, dict):
            return self.function_call
        return {"type": "function", "function": {"name": self.function_call["name"]}}

    @property
    def _allowed(self) -> Mapping[str, Any] | None:
        """Which of the tools may be called, where `tool_choice` says that."""
        choice = self.tool_choice
        named: Any = choice.get("allowed_tools") if isinstance(choice, dict) else None
        return named

    @property
    def may_call(self) -> bool:
        """Whether a reply may call tools."""
        return bool(self.offered_tools) and self.chosen_tool != "none"

    @property
    def form_answer(self) -> AnswerChoice | None:
        if self.may_call:
            return AnswerChoice("tool_calls", parallel=self.parallel_tool_calls is not False)
        return super().form_answer

    @property
    def bends_sampling(self) -> bool:
        """vLLM 0.32 keeps to a grammar for a format, a forced or strict tool, and where there may
        be one call at most."""
        if super().bends_sampling:
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


def _check_chosen(choice: Mapping[str, Any]) -> None:
    """Raise ValueError unless a `tool_choice` names a function, or several that are allowed."""
    if choice.get("type") != "allowed_tools":
        if choice.get("type", "function") != "function" or not _called(choice):
            raise ValueError("names no function")
        return
    allowed: Any = choice.get("allowed_tools")
    tools: Any = cast("Any", allowed).get("tools") if isinstance(allowed, dict) else None
    if not isinstance(tools, list) or not all(map(_called, cast("list[Any]", tools))):
        raise ValueError("allowed_tools names no functions")
    if len(cast("list[Any]", tools)) > MAX_TOOLS:
        raise ValueError(f"allowed_tools names more than {MAX_TOOLS} functions")
    if cast("Any", allowed).get("mode") not in ("auto", "required"):
        raise ValueError("the mode of allowed_tools must be auto or required")


def _called(tool: Any) -> str:
    """The name of a tool's function, or nothing."""
    return _name_of(cast("Any", tool).get("function")) if isinstance(tool, dict) else ""


def _name_of(function: Any) -> str:
    """The name in a function's object, or nothing."""
    name: Any = cast("dict[str, Any]", function).get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else ""
