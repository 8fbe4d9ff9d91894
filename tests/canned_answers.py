"""What the stand-in for vLLM says: tool calls where tools are offered, JSON where a schema is asked
for, and else a boxed number. Which call and which JSON follows from the schema alone.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANSWER = r"\boxed{4}"
WORD, NUMBER = "Rome", 20
_UNPRINTED = re.compile(r"[^ -~]")
"""Its tokens are characters of ASCII."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One rollout: its text, and the name and arguments of the tool that it calls, if it does."""

    text: str
    call: tuple[str, str] | None = None

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.call else "stop"

    @property
    def calls(self) -> dict[str, Any]:
        """`tool_calls` of a message or of a delta; nothing without a call."""
        if self.call is None:
            return {}
        name, arguments = self.call
        function = {"name": name, "arguments": arguments}
        return {
            "tool_calls": [{"index": 0, "id": "call_0", "type": "function", "function": function}]
        }


def answer_to(body: Mapping[str, Any]) -> Answer:
    """What every rollout says to a request: what a tool has brought is repeated."""
    messages = body.get("messages") or [{}]
    if messages[-1].get("role") == "tool":
        brought = _UNPRINTED.sub("?", str(messages[-1]["content"]))
        return Answer(f"It is {brought[:200]}.")
    tools = body.get("tools")
    if tools and body.get("tool_choice") != "none":
        function = tools[0]["function"]
        return Answer("", (function["name"], _fitting(function.get("parameters"))))
    shape = (body.get("response_format") or {}).get("json_schema")
    return Answer(_fitting(shape.get("schema")) if shape else ANSWER)


def _fitting(schema: Any) -> str:
    """JSON that the schema takes, if it is one that makes sense."""
    try:
        return json.dumps(instance(schema or {"type": "object"}))
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError):
        return "{}"


def instance(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """Something that the schema takes, with every field that it names."""
    root = root or schema
    if "$ref" in schema:
        return instance(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for values in ("enum", "anyOf"):
        if values in schema:
            first = schema[values][0]
            return first if values == "enum" else instance(first, root)
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            return {name: instance(field, root) for name, field in fields.items()}
        case "array":
            return [instance(schema["items"], root)]
        case "integer" | "number":
            return NUMBER
        case "boolean":
            return True
        case _:
            return WORD
