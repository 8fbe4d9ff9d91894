"""A chat's reply as blocks, one after another: reasoning, text, and each tool call.

Responses calls them output items, Messages content blocks. A chat has them in three fields of its
message, and its stream in three fields of each delta.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from server.engine.deltas import reasoning_in


class Kind(Enum):
    """What a block is."""

    REASONING = "reasoning"
    TEXT = "text"
    CALL = "call"


@dataclass(slots=True)
class Block:
    """The block at the place `at`. `text` is what it says, of a call its arguments as the model
    wrote them; `id` and `name` are a call's, `logprobs` those of a text's tokens."""

    kind: Kind
    at: int
    text: str = ""
    id: str = ""
    name: str = ""
    logprobs: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])


@dataclass(slots=True)
class Opened:
    """A block begins."""

    block: Block


@dataclass(slots=True)
class Grown:
    """A block has got more `text`, with the `logprobs` of its tokens if they are known."""

    block: Block
    text: str
    logprobs: Sequence[Mapping[str, Any]] = ()


@dataclass(slots=True)
class Closed:
    """A block is whole."""

    block: Block


Change = Opened | Grown | Closed


def logprobs_in(choice: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The log-probabilities of a choice's tokens, or none."""
    logprobs: Mapping[str, Any] = choice.get("logprobs") or {}
    return logprobs.get("content") or ()


def blocks_of(choice: Mapping[str, Any]) -> list[Block]:
    """The blocks of a whole choice, at least one."""
    message: Mapping[str, Any] = choice["message"]
    calls: Sequence[Mapping[str, Any]] = message.get("tool_calls") or ()
    found: list[Block] = []
    if reasoning := reasoning_in(message):
        found.append(Block(Kind.REASONING, 0, reasoning))
    if (text := message.get("content") or "") or not (found or calls):
        found.append(Block(Kind.TEXT, len(found), text, logprobs=list(logprobs_in(choice))))
    for call in calls:
        function = call["function"]
        said, name = function.get("arguments") or "", function["name"]
        found.append(Block(Kind.CALL, len(found), said, call.get("id") or _call_id(), name))
    return found


class BlockStream:
    """Takes the chunks of one streamed choice, and says how its blocks change. One block is open at
    a time, as clients of Messages expect."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        """Those that have begun."""
        self._open: Block | None = None
        self._calls: dict[int, Block] = {}
        self._held = ""
        """Text that came in the middle of a call; it follows the call."""
        self._pieces: list[str] = []
        """What the open block has got since it began: added to its text when it ends."""

    def add(self, choice: Mapping[str, Any]) -> list[Change]:
        """What a chunk's choice changes."""
        delta: Mapping[str, Any] = choice.get("delta") or {}
        block, text = self._open, delta.get("content")
        if text and len(delta) == 1 and block is not None and block.kind is Kind.TEXT:
            return [self._grow(block, text, logprobs_in(choice))]  # nearly every chunk
        changes: list[Change] = []
        if reasoning := reasoning_in(delta):
            self._write(Kind.REASONING, reasoning, (), changes)
        if text:
            if self._open is not None and self._open.kind is Kind.CALL:
                self._held += text
            else:
                self._write(Kind.TEXT, text, logprobs_in(choice), changes)
        for piece in delta.get("tool_calls") or ():
            self._extend_call(piece, changes)
        return changes

    def end(self) -> list[Change]:
        """What the end of the stream changes: there is one block at least, and none is open."""
        changes: list[Change] = []
        self._close(changes)
        if not self.blocks:
            self._begin(Block(Kind.TEXT, 0), changes)
            self._close(changes)
        return changes

    def _write(
        self, kind: Kind, text: str, logprobs: Sequence[Mapping[str, Any]], changes: list[Change]
    ) -> None:
        """Add to the open block of that kind, or to a new one."""
        block = self._open
        if block is None or block.kind is not kind:
            self._close(changes)
            block = Block(kind, len(self.blocks))
            self._begin(block, changes)
        changes.append(self._grow(block, text, logprobs))

    def _grow(self, block: Block, text: str, logprobs: Sequence[Mapping[str, Any]] = ()) -> Grown:
        """Add to the open block."""
        self._pieces.append(text)
        if logprobs:
            block.logprobs += logprobs
        return Grown(block, text, logprobs)

    def _extend_call(self, piece: Mapping[str, Any], changes: list[Change]) -> None:
        """Add a piece to its call. The name may come after the id, and must be told first."""
        number: int = piece.get("index") or 0
        function: Mapping[str, Any] = piece.get("function") or {}
        arguments: str = function.get("arguments") or ""
        block = self._calls.get(number)
        if block is None:
            self._close(changes)
            block = self._calls[number] = Block(Kind.CALL, len(self.blocks))
        if not block.name:
            block.id = block.id or piece.get("id") or ""
            block.text += arguments
            if name := function.get("name"):
                block.id, block.name = block.id or _call_id(), name
                self._close(changes)
                self._begin(block, changes)
                arguments, block.text = block.text, ""
        # A call that is not open any more was reported as whole when the next one began.
        if arguments and block is self._open:
            changes.append(self._grow(block, arguments))

    def _begin(self, block: Block, changes: list[Change]) -> None:
        block.at = len(self.blocks)
        self.blocks.append(block)
        self._open = block
        changes.append(Opened(block))

    def _close(self, changes: list[Change]) -> None:
        """Close the open block, and give out the text that was held back for it."""
        if (block := self._open) is not None:
            block.text += "".join(self._pieces)
            self._open, self._pieces = None, []
            changes.append(Closed(block))
        if self._held:
            text, self._held = self._held, ""
            self._write(Kind.TEXT, text, (), changes)
            self._close(changes)


def _call_id() -> str:
    return f"call_{uuid.uuid4().hex}"
