"""Writes Messages, whole and event by event.

https://docs.claude.com/en/api/messages and …/build-with-claude/streaming
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from server.api.errors import ApiError
from server.api.messages.errors import error_body
from server.api.surfaces.blocks import Block, Grown, Kind, blocks_of
from server.api.surfaces.writing import Writer, event_head, named_event, usage_details

# A chat's finish reasons, and the stop reasons of a Message.
_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_NO_STOP = {"stop_reason": None, "stop_sequence": None}
_DELTAS = {
    Kind.REASONING: (b"thinking_delta", b"thinking"),
    Kind.TEXT: (b"text_delta", b"text"),
    Kind.CALL: (b"input_json_delta", b"partial_json"),
}
"""How more of a block is called, and the field that it is in."""


class MessageWriter(Writer):
    """The writer of one reply. Progress of a vote rides on `ping`, the vote on `message_delta`."""

    def __init__(self, id: str, model: str) -> None:
        super().__init__()
        self._reply = {"id": id, "type": "message", "role": "assistant", "model": model}
        self._begun = False
        self._head = b""
        """How the events begin that tell of more of the open block."""

    def whole(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        choice = completion["choices"][0]
        blocks = blocks_of(choice)
        return {
            **self._reply,
            "content": [_whole(block) for block in blocks],
            **_stop(choice, blocks),
            "usage": _usage(completion["usage"]),
            "ratchet": completion["ratchet"],
        }

    def keep_alive(self, comment: bytes) -> bytes:
        return self._before() + named_event({"type": "ping"})

    def failure(self, error: ApiError) -> bytes:
        return named_event(error_body(error))

    def _before(self) -> bytes:
        """The first event, once. The prompt's tokens are not known by then if the vote is open."""
        if self._begun:
            return b""
        self._begun = True
        usage = {**_usage(self._usage), "output_tokens": 0}
        empty: dict[str, Any] = {**self._reply, "content": [], **_NO_STOP, "usage": usage}
        return named_event({"type": "message_start", "message": empty})

    def _progress(self, extension: Mapping[str, Any]) -> bytes:
        return named_event({"type": "ping", "ratchet": extension})

    def _open(self, block: Block) -> bytes:
        kind, field = _DELTAS[block.kind]
        delta = event_head({"type": "content_block_delta", "index": block.at})
        self._head = b'%b,"delta":{"type":"%b","%b":' % (delta, kind, field)
        begun = {"index": block.at, "content_block": _begun(block)}
        return named_event({"type": "content_block_start", **begun})

    def _grow(self, change: Grown) -> bytes:
        return b"%b%b}}\n\n" % (self._head, orjson.dumps(change.text))

    def _close(self, block: Block) -> bytes:
        signed = b""
        if block.kind is Kind.REASONING:
            delta = {"type": "signature_delta", "signature": _signature()}
            signed = named_event({"type": "content_block_delta", "index": block.at, "delta": delta})
        return signed + named_event({"type": "content_block_stop", "index": block.at})

    def _finish(self) -> bytes:
        stop = _stop(self._ended, self._blocks.blocks)
        told = {"delta": stop, "usage": _usage(self._usage), "ratchet": self._extension}
        ended = named_event({"type": "message_delta", **told})
        return ended + named_event({"type": "message_stop"})


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
