"""Splits bytes into server-sent events: html.spec.whatwg.org/multipage/server-sent-events."""

from collections.abc import AsyncIterable, AsyncIterator

_END = b"\n\n"


async def events_of(pieces: AsyncIterable[bytes]) -> AsyncIterator[list[bytes]]:
    """The data of each event, of any size, in one list where they come together, up to `[DONE]`.
    Raises EOFError if the stream ends without it."""
    waiting = bytearray()
    searched = 0
    async for piece in pieces:
        waiting += piece
        end = waiting.rfind(_END, searched)
        if end < 0:
            searched = max(0, len(waiting) - 1)
            continue
        # An event that comes alone and in one piece is copied only twice.
        whole, waiting = waiting, waiting[end + 2 :]
        del whole[end:]
        events = [
            bytes(event[6:] if event.startswith(b" ", 5) else event[5:])
            for event in map(_without_comments, whole.split(_END))
            if event.startswith(b"data:")
        ]
        searched = 0
        if events and events[-1] == b"[DONE]":
            if len(events) > 1:
                yield events[:-1]
            return
        if events:
            yield events
    raise EOFError


def _without_comments(event: bytearray) -> bytearray:
    """An event without the comments before it."""
    while event.startswith(b":"):
        _, _, event = event.partition(b"\n")
    return event
