"""Turns a conversation of Messages into a chat's messages."""

from collections.abc import Sequence
from typing import Any

import orjson

from server.api.messages.content import (
    AssistantTurn,
    SystemTurn,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserTurn,
    joined,
)


def messages_of(
    system: str | Sequence[TextBlock] | None,
    turns: Sequence[UserTurn | AssistantTurn | SystemTurn],
) -> list[dict[str, Any]]:
    """The chat. What operators say in between stands at its head, the one place where every chat
    template takes it; turns of one side that follow each other are one message."""
    said = ["" if system is None else joined(system)]
    said += [joined(turn.content) for turn in turns if isinstance(turn, SystemTurn)]
    found: list[dict[str, Any]] = []
    if text := "\n\n".join(filter(None, said)):
        found.append({"role": "system", "content": text})
    for turn in turns:
        match turn:
            case UserTurn():
                _add_user(found, turn)
            case AssistantTurn():
                _add_assistant(found, turn)
            case SystemTurn():
                pass
    for message in found:
        for field, joint in (("content", "\n"), ("reasoning", "")):
            if isinstance(message.get(field), list):
                message[field] = joint.join(message[field])
    return found or [{"role": "user", "content": ""}]


def _add_user(found: list[dict[str, Any]], turn: UserTurn) -> None:
    """What calls have brought, each a message of its own, and then what the user says."""
    texts: list[str] = []
    for block in [turn.content] if isinstance(turn.content, str) else turn.content:
        match block:
            case str():
                texts.append(block)
            case ToolResultBlock():
                result = {"tool_call_id": block.tool_use_id, "content": joined(block.content or "")}
                found.append({"role": "tool", **result})
            case _:
                texts.append(block.text)
    if texts or not turn.content:
        _say(found, "user", "\n".join(texts))


def _add_assistant(found: list[dict[str, Any]], turn: AssistantTurn) -> None:
    if isinstance(turn.content, str):
        _say(found, "assistant", turn.content)
        return
    _last(found, "assistant")
    for block in turn.content:
        match block:
            case TextBlock():
                _say(found, "assistant", block.text)
            case ThinkingBlock():
                _last(found, "assistant").setdefault("reasoning", []).append(block.thinking)
            case ToolUseBlock():
                function = {"name": block.name, "arguments": orjson.dumps(block.input).decode()}
                call = {"id": block.id, "type": "function", "function": function}
                _last(found, "assistant").setdefault("tool_calls", []).append(call)
            case _:
                pass


def _say(found: list[dict[str, Any]], role: str, text: str) -> None:
    """Add a text to those of the message of that side at the end of the chat."""
    message = _last(found, role)
    if message["content"] is None:
        message["content"] = []
    message["content"].append(text)


def _last(found: list[dict[str, Any]], role: str) -> dict[str, Any]:
    """The message of that side at the end of the chat, a new one if the other has spoken."""
    if not found or found[-1]["role"] != role:
        found.append({"role": role, "content": None})
    return found[-1]
