"""The older form of tool calls, `function_call`, in what clients send and get."""

from collections.abc import Mapping, Sequence
from typing import Any

_ID = "call_"


def in_older_form(choice: Mapping[str, Any]) -> dict[str, Any]:
    """A choice, whole or of a chunk, with `function_call` for its first tool call: the older form
    has room for one."""
    older = dict(choice)
    for part in ("message", "delta"):
        written: Mapping[str, Any] = choice.get(part) or {}
        calls: Sequence[Mapping[str, Any]] = written.get("tool_calls") or ()
        if calls:
            older[part] = {name: v for name, v in written.items() if name != "tool_calls"}
            pieces = calls[:1] if part == "message" else [c for c in calls if not c.get("index")]
            if merged := _merged(pieces):
                older[part]["function_call"] = merged
    if choice.get("finish_reason") == "tool_calls":
        older["finish_reason"] = "function_call"
    return older


def in_todays_form(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Messages with `tool_calls` for `function_call`, and role `tool` for `function`: chat
    templates know nothing of the older form."""
    found: list[Mapping[str, Any]] = []
    called = 0
    for message in messages:
        if call := message.get("function_call"):
            rest = {name: value for name, value in message.items() if name != "function_call"}
            one = {"id": f"{_ID}{called}", "type": "function", "function": call}
            found.append({**rest, "tool_calls": [one]})
            called += 1
        elif message["role"] == "function":
            result = {**message, "role": "tool", "tool_call_id": f"{_ID}{max(0, called - 1)}"}
            found.append(result)
        else:
            found.append(message)
    return found


def _merged(pieces: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The pieces of one call as one piece."""
    merged: dict[str, str] = {}
    for piece in pieces:
        function: Mapping[str, str] = piece.get("function") or {}
        for field, text in function.items():
            merged[field] = merged.get(field, "") + text
    return merged
