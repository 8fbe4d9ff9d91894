"""Puts a chat message together from the deltas that vLLM 0.32 streams."""

from collections.abc import Iterable, Mapping
from typing import Any

from rewards.rollouts import ToolCall


def message_of(deltas: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The deltas of one choice as one message. Text fields of any name are concatenated; so are the
    pieces of each tool call, which are told apart by `index`. Raises as `dict` and `str` do."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        for field, value in delta.items():
            if field == "tool_calls":
                for piece in value or ():
                    _extend(calls, piece)
            elif field != "role" and isinstance(value, str):
                message[field] = (message.get(field) or "") + value
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return message


def reasoning_in(written: Mapping[str, Any]) -> str:
    """The reasoning in a message or a delta, by today's name or the older one."""
    return written.get("reasoning") or written.get("reasoning_content") or ""


def reasoning_tokens(delta: Mapping[str, Any], tokens: int) -> float:
    """How many of a delta's `tokens` are reasoning: by its share of the characters if there is more
    in it, as where many tokens come at once."""
    reasoning = len(reasoning_in(delta))
    if not reasoning:
        return 0.0
    said: list[str] = [delta.get("content") or ""]
    for call in delta.get("tool_calls") or ():
        function: Mapping[str, Any] = call.get("function") or {}
        said.append(function.get("arguments") or "")
    return tokens * reasoning / (reasoning + sum(map(len, said)))


def calls_in(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The tool calls of a whole message, arguments as the model wrote them."""
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    return tuple(ToolCall(one["name"], one["arguments"]) for one in functions)


def _extend(calls: dict[int, dict[str, Any]], piece: Mapping[str, Any]) -> None:
    """Add a piece to its call. Name and arguments may come apart, even within one chunk."""
    empty = {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
    call = calls.setdefault(int(piece["index"]), empty)
    call["id"] = call["id"] or piece.get("id")
    for field in call["function"]:
        call["function"][field] += (piece.get("function") or {}).get(field) or ""
