"""What a surface needs that writes replies of its own, out of a chat's."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from server.api.errors import ApiError
from server.api.surfaces.blocks import Block, BlockStream, Closed, Grown, Opened

_END = b"}\n\n"


class Writer(ABC):
    """Writes the reply to one request, in its surface's form, out of a chat's reply: whole, or
    event by event, as its blocks change."""

    def __init__(self) -> None:
        self._blocks = BlockStream()
        self._ended: Mapping[str, Any] = {}
        """The choice in the chunk that ends it."""
        self._usage: Mapping[str, Any] = {}
        self._extension: Mapping[str, Any] | None = None

    @abstractmethod
    def whole(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        """The reply, of a whole completion."""

    @abstractmethod
    def keep_alive(self, comment: bytes) -> bytes:
        """What tells the client that the reply is still to come, where a chat has a comment."""

    def chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """The events for one chunk."""
        if usage := chunk.get("usage"):
            self._usage = usage
        written = self._before()
        choices: Sequence[Mapping[str, Any]] = chunk.get("choices") or ()
        for choice in choices:
            written += self._changed(self._blocks.add(choice))
            if choice.get("finish_reason"):
                self._ended = choice
        if (extension := chunk.get("ratchet")) is not None:
            if choices:
                self._extension = extension
            else:
                written += self._progress(extension)
        return written

    def end(self) -> bytes:
        """The events at the end of a stream that has succeeded."""
        return self._before() + self._changed(self._blocks.end()) + self._finish()

    @abstractmethod
    def failure(self, error: ApiError) -> bytes:
        """The events at the end of one that has failed."""

    def _changed(self, changes: Sequence[Opened | Grown | Closed]) -> bytes:
        if len(changes) == 1 and isinstance(more := changes[0], Grown):
            return self._grow(more)  # nearly every chunk
        written = b""
        for change in changes:
            match change:
                case Grown():
                    written += self._grow(change)
                case Opened():
                    written += self._open(change.block)
                case Closed():
                    written += self._close(change.block)
        return written

    @abstractmethod
    def _before(self) -> bytes:
        """The events that must come before others: those that open a stream, once, for example."""

    @abstractmethod
    def _progress(self, extension: Mapping[str, Any]) -> bytes:
        """The event that tells of a vote so far."""

    @abstractmethod
    def _open(self, block: Block) -> bytes:
        """The events for a block that begins."""

    @abstractmethod
    def _grow(self, change: Grown) -> bytes:
        """The event for more of the open block, one for every token."""

    @abstractmethod
    def _close(self, block: Block) -> bytes:
        """The events for a block that is whole."""

    @abstractmethod
    def _finish(self) -> bytes:
        """The events after the last block."""


def named_event(event: Mapping[str, Any]) -> bytes:
    """One server-sent event, named after its `type`."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))


def event_head(event: Mapping[str, Any]) -> bytes:
    """A named event that is to be continued by further fields, a comma before each."""
    return named_event(event).removesuffix(_END)


def usage_details(usage: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens of the prompt that the engine's cache had, and tokens of reasoning."""
    prompt: Mapping[str, int] = usage.get("prompt_tokens_details") or {}
    generated: Mapping[str, int] = usage.get("completion_tokens_details") or {}
    return prompt.get("cached_tokens") or 0, generated.get("reasoning_tokens") or 0
