"""Server-sent events as bytes come in: https://html.spec.whatwg.org/multipage/server-sent-events."""

from collections.abc import AsyncIterable, AsyncIterator

_END = b"\n\n"


async def events_of(pieces: AsyncIterable[bytes]) -> AsyncIterator[list[bytes]]:
    """The data of each event, those that came together in one list. Stops at `[DONE]`.

    Events may be of any size; comments are left out. Whether the stream was whole is for the caller
    to see: an event cut short is not given out. Raises EOFError if it ended without `[DONE]`.
    """
    waiting = bytearray()
    searched = 0
    async for piece in pieces:
        waiting += piece
        end = waiting.rfind(_END, searched)
        if end < 0:
            searched = max(0, len(waiting) - 1)
            continue
        # A stream of one event at a time, each in one piece, is not copied more than twice.
        whole, waiting = waiting, waiting[end + 2 :]
        del whole[end:]
        events = [
            bytes(event[6:] if event.startswith(b" ", 5) else event[5:])
            for event in whole.split(_END)
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
