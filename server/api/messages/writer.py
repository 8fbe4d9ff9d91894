"""Writes Messages, whole and event by event.

https://docs.claude.com/en/api/messages and …/build-with-claude/streaming
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from server.api.errors import ApiError
from server.api.messages.errors import error_body
from server.api.surfaces.blocks import (
    Block,
    BlockStream,
    Change,
    Closed,
    Grown,
    Kind,
    Opened,
    blocks_of,
)
from server.api.surfaces.writing import named_event, usage_details

# A chat's finish reasons, and the stop reasons of a Message.
_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_NO_STOP = {"stop_reason": None, "stop_sequence": None}
_DELTAS = {
    Kind.REASONING: ("thinking_delta", "thinking"),
    Kind.TEXT: ("text_delta", "text"),
    Kind.CALL: ("input_json_delta", "partial_json"),
}
"""How more of a block is called, and the field that it is in."""


class MessageWriter:
    """The writer of one reply. Progress of a vote rides on `ping`, the vote on `message_delta`."""

    def __init__(self, id: str, model: str) -> None:
        self._head = {"id": id, "type": "message", "role": "assistant", "model": model}
        self._blocks = BlockStream()
        self._begun = False
        self._ended: Mapping[str, Any] = {}
        """The choice in the chunk that ends it."""
        self._usage: Mapping[str, Any] = {}
        self._extension: Mapping[str, Any] | None = None

    def whole(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        choice = completion["choices"][0]
        blocks = blocks_of(choice)
        return {
            **self._head,
            "content": [_whole(block) for block in blocks],
            **_stop(choice, blocks),
            "usage": _usage(completion["usage"]),
            "ratchet": completion["ratchet"],
        }

    def keep_alive(self, comment: bytes) -> bytes:
        return self._opening() + named_event({"type": "ping"})

    def chunk(self, chunk: Mapping[str, Any]) -> bytes:
        self._usage = chunk.get("usage") or self._usage
        written = [self._opening()]
        choices: Sequence[Mapping[str, Any]] = chunk.get("choices") or ()
        extension: Mapping[str, Any] | None = chunk.get("ratchet")
        for choice in choices:
            written += map(self._told, self._blocks.add(choice))
            self._extension = extension or self._extension
            if choice.get("finish_reason"):
                self._ended = choice
        if extension is not None and not choices:
            written.append(named_event({"type": "ping", "ratchet": extension}))
        return b"".join(written)

    def end(self) -> bytes:
        written = [self._opening(), *map(self._told, self._blocks.end())]
        stop = _stop(self._ended, self._blocks.blocks)
        told = {"delta": stop, "usage": _usage(self._usage), "ratchet": self._extension}
        written.append(named_event({"type": "message_delta", **told}))
        written.append(named_event({"type": "message_stop"}))
        return b"".join(written)

    def failure(self, error: ApiError) -> bytes:
        return named_event(error_body(error))

    def _opening(self) -> bytes:
        """The first event, once. The prompt's tokens are not known by then if the vote is open."""
        if self._begun:
            return b""
        self._begun = True
        usage = {**_usage(self._usage), "output_tokens": 0}
        empty: dict[str, Any] = {**self._head, "content": [], **_NO_STOP, "usage": usage}
        return named_event({"type": "message_start", "message": empty})

    def _told(self, change: Change) -> bytes:
        """The events for a change."""
        block = change.block
        match change:
            case Opened():
                begun = {"index": block.at, "content_block": _begun(block)}
                return named_event({"type": "content_block_start", **begun})
            case Grown():
                kind, field = _DELTAS[block.kind]
                return _delta(block, {"type": kind, field: change.text})
            case Closed():
                signed = b""
                if block.kind is Kind.REASONING:
                    signed = _delta(block, {"type": "signature_delta", "signature": _signature()})
                return signed + named_event({"type": "content_block_stop", "index": block.at})


def _delta(block: Block, delta: Mapping[str, str]) -> bytes:
    return named_event({"type": "content_block_delta", "index": block.at, "delta": delta})


def _begun(block: Block) -> dict[str, Any]:
    """A content block that has nothing in it yet."""
    match block.kind:
        case Kind.REASONING:
            return {"type": "thinking", "thinking": "", "signature": ""}
        case Kind.TEXT:
            return {"type": "text", "text": ""}
        case Kind.CALL:
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}


def _whole(block: Block) -> dict[str, Any]:
    """A whole content block."""
    match block.kind:
        case Kind.REASONING:
            return {"type": "thinking", "thinking": block.text, "signature": _signature()}
        case Kind.TEXT:
            return {"type": "text", "text": block.text}
        case Kind.CALL:
            return {**_begun(block), "input": _object(block.text) or {}}


def _signature() -> str:
    """Clients send thinking back only with a signature. Nothing checks it."""
    return uuid.uuid4().hex


def _object(arguments: str) -> dict[str, Any] | None:
    """A call's arguments; None for what is no object, as of a call that was cut short."""
    try:
        found: Any = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _stop(choice: Mapping[str, Any], blocks: Sequence[Block]) -> dict[str, str | None]:
    """Why a message ends. A forced call is no reason to stop for a chat, and one for a Message; a
    stop sequence is one unless it came after a whole call."""
    reason, matched = choice.get("finish_reason"), choice.get("stop_reason")
    calls = [block for block in blocks if block.kind is Kind.CALL]
    if reason in ("stop", "tool_calls"):
        cut = isinstance(matched, str) and not (calls and _object(calls[-1].text) is not None)
        if cut:
            return {"stop_reason": "stop_sequence", "stop_sequence": matched}
        if calls:
            return {"stop_reason": "tool_use", "stop_sequence": None}
    return {"stop_reason": _REASONS.get(reason or "", "end_turn"), "stop_sequence": None}


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """A chat's usage by a Message's names, which count what the cache had apart."""
    cached, reasoning = usage_details(usage)
    return {
        "input_tokens": max(0, usage.get("prompt_tokens", 0) - cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.get("completion_tokens", 0),
        "output_tokens_details": {"thinking_tokens": reasoning},
    }
