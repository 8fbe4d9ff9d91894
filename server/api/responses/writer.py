"""Writes Responses, whole and event by event.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Mapping
from typing import Any

import orjson

from server.api.errors import ApiError
from server.api.responses.reply import Response, logprobs_of, part_of
from server.api.surfaces.blocks import Block, Grown, Kind, blocks_of
from server.api.surfaces.writing import Writer, event_head, named_event

_WORDS = {
    Kind.REASONING: "response.reasoning_text",
    Kind.TEXT: "response.output_text",
    Kind.CALL: "response.function_call_arguments",
}
"""How the events are called that tell of more of a block, or of all of it."""


class ResponseWriter(Writer):
    """The writer of one reply. Progress of a vote rides on `response.in_progress`, the vote on the
    finished response."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self._response = response
        self._sent, self._quiet = 0, False
        self._place: dict[str, Any] = {}
        """Where the open block is."""
        self._head = b""
        """How the events begin that tell of more of it."""

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

    def _before(self) -> bytes:
        if self._sent and not self._quiet:
            return b""
        return self._opening() + self._after_comments()

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

    def _progress(self, extension: Mapping[str, Any]) -> bytes:
        so_far = self._response.shown("in_progress", ratchet=extension)
        return self._event("response.in_progress", response=so_far)

    def _open(self, block: Block) -> bytes:
        self._place = {"item_id": self._response.item_id(block), "output_index": block.at}
        if block.kind is not Kind.CALL:
            self._place["content_index"] = 0
        self._head = event_head({"type": f"{_WORDS[block.kind]}.delta", **self._place})
        item = self._response.item(block, "in_progress")
        begun = self._event("response.output_item.added", output_index=block.at, item=item)
        if block.kind is Kind.CALL:
            return begun
        part = part_of(block, empty=True)
        return begun + self._event("response.content_part.added", **self._place, part=part)

    def _grow(self, change: Grown) -> bytes:
        number, self._sent = self._sent, self._sent + 1
        more, text = b"", orjson.dumps(change.text)
        if change.block.kind is Kind.TEXT:
            scores = orjson.dumps(logprobs_of(change.logprobs)) if change.logprobs else b"[]"
            more = b',"logprobs":' + scores
        return b'%b,"sequence_number":%d,"delta":%b%b}\n\n' % (self._head, number, text, more)

    def _close(self, block: Block) -> bytes:
        kind = f"{_WORDS[block.kind]}.done"
        if block.kind is Kind.CALL:
            more = {"name": block.name, "arguments": block.text}
            done = self._event(kind, **self._place, **more)
        else:
            part = part_of(block)
            more = {name: part[name] for name in ("text", "logprobs") if name in part}
            done = self._event(kind, **self._place, **more)
            done += self._event("response.content_part.done", **self._place, part=part)
        # Nothing follows the item that was cut short.
        cut = self._ended.get("finish_reason") in ("length", "content_filter")
        item = self._response.item(block, "incomplete" if cut else "completed")
        return done + self._event("response.output_item.done", output_index=block.at, item=item)

    def _finish(self) -> bytes:
        response = self._response.finished(
            self._ended.get("finish_reason"), self._blocks.blocks, self._usage, self._extension
        )
        return self._event(f"response.{response['status']}", response=response)
