"""Writes Responses, whole and event by event.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Mapping, Sequence
from typing import Any

from server.api.errors import ApiError
from server.api.responses.reply import Response, logprobs_of, part_of
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
from server.api.surfaces.writing import named_event

_WORDS = {
    Kind.REASONING: "response.reasoning_text",
    Kind.TEXT: "response.output_text",
    Kind.CALL: "response.function_call_arguments",
}
"""How the events are called that tell of more of a block, or of all of it."""


class ResponseWriter:
    """The writer of one reply. Progress of a vote rides on `response.in_progress`, the vote on the
    finished response."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self._blocks = BlockStream()
        self._sent, self._quiet = 0, False
        self._grown, self._place = "", dict[str, Any]()
        """Of the open block: how an event is called that tells of more of it, and where it is."""
        self._finish_reason: str | None = None
        self._usage: Mapping[str, Any] | None = None
        self._extension: Mapping[str, Any] | None = None

    def whole(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        choice = completion["choices"][0]
        return self._response.finished(
            choice["finish_reason"], blocks_of(choice), completion["usage"], completion["ratchet"]
        )

    def keep_alive(self, comment: bytes) -> bytes:
        if opening := self._opening():
            return opening
        self._quiet = True
        return comment

    def chunk(self, chunk: Mapping[str, Any]) -> bytes:
        written = [self._opening(), self._after_comments()]
        choices: Sequence[Mapping[str, Any]] = chunk.get("choices") or ()
        extension: Mapping[str, Any] | None = chunk.get("ratchet")
        self._usage = chunk.get("usage") or self._usage
        for choice in choices:
            written += map(self._told, self._blocks.add(choice))
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            self._extension = extension or self._extension
        if extension is not None and not choices:
            so_far = self._response.shown("in_progress", ratchet=extension)
            written.append(self._event("response.in_progress", response=so_far))
        return b"".join(written)

    def end(self) -> bytes:
        written = [self._opening(), self._after_comments(), *map(self._told, self._blocks.end())]
        response = self._response.finished(
            self._finish_reason, self._blocks.blocks, self._usage, self._extension
        )
        written.append(self._event(f"response.{response['status']}", response=response))
        return b"".join(written)

    def failure(self, error: ApiError) -> bytes:
        told = {"code": error.code, "message": error.message, "param": error.param}
        failed = {"code": "server_error", "message": error.message}
        response = self._response.shown("failed", error=failed)
        written = [self._after_comments(), self._event("error", **told)]
        written.append(self._event("response.failed", response=response))
        return b"".join(written)

    def _event(self, kind: str, **fields: Any) -> bytes:
        number, self._sent = self._sent, self._sent + 1
        return named_event({"type": kind, "sequence_number": number, **fields})

    def _opening(self) -> bytes:
        """The first events, once."""
        if self._sent:
            return b""
        begun = self._response.shown("in_progress")
        kinds = ("response.created", "response.in_progress")
        return b"".join(self._event(kind, response=begun) for kind in kinds)

    def _after_comments(self) -> bytes:
        """An event that says nothing new: some decoders lose the one that follows a comment."""
        if not self._quiet:
            return b""
        self._quiet = False
        return self._event("response.in_progress", response=self._response.shown("in_progress"))

    def _told(self, change: Change) -> bytes:
        """The events for a change."""
        match change:
            case Grown():
                more: dict[str, Any] = {**self._place, "delta": change.text}
                if change.block.kind is Kind.TEXT:
                    more["logprobs"] = logprobs_of(change.logprobs)
                return self._event(self._grown, **more)
            case Opened():
                return self._begin(change.block)
            case Closed():
                return self._finish(change.block)

    def _begin(self, block: Block) -> bytes:
        self._grown = f"{_WORDS[block.kind]}.delta"
        self._place = {"item_id": self._response.item_id(block), "output_index": block.at}
        if block.kind is not Kind.CALL:
            self._place["content_index"] = 0
        item = self._response.item(block, "in_progress")
        begun = self._event("response.output_item.added", output_index=block.at, item=item)
        if block.kind is Kind.CALL:
            return begun
        part = part_of(block, empty=True)
        return begun + self._event("response.content_part.added", **self._place, part=part)

    def _finish(self, block: Block) -> bytes:
        kind = f"{_WORDS[block.kind]}.done"
        if block.kind is Kind.CALL:
            more = {"name": block.name, "arguments": block.text}
            done = self._event(kind, **self._place, **more)
        else:
            part = part_of(block)
            more = {name: part[name] for name in ("text", "logprobs") if name in part}
            done = self._event(kind, **self._place, **more)
            done += self._event("response.content_part.done", **self._place, part=part)
        item = self._response.item(block, self._ended())
        return done + self._event("response.output_item.done", output_index=block.at, item=item)

    def _ended(self) -> str:
        """The status of an item that ends now: nothing follows the one that was cut short."""
        cut = self._finish_reason in ("length", "content_filter")
        return "incomplete" if cut else "completed"
