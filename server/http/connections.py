"""One client's connection, with limits on what may come before a request is read, and on how long a
reply waits to be read.

uvicorn has none for headers and for time: who never ends them would fill the memory, without a key,
and who reads no reply would hold its share of the engine for good.
"""

from asyncio import TimerHandle, Transport
from collections import deque
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server.api.errors import ApiError
from server.http.unparsed import Unparsed, UnparsedBytes
from server.policy.reasons import Refusal

_HEAD_PIECE = 4_096
"""Bytes of headers that are parsed before they are counted."""
_PIPELINED = 8
"""Requests that may wait on a connection behind one that is not answered yet."""
_FRAMING = 8
"""Bytes around each byte of a body that comes in chunks, at most: those around chunks of one."""
_LINGER_SECONDS = 2.0
"""For a client to read why it is turned away: what it still sends would else reset it."""
_TAKEN = "ratchet.taken"
"""In the scope: called when a request's body has been read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Bytes and number of headers, seconds for them and for a body to be whole, and for which a
    reply may wait in all for a client that does not read."""

    header_bytes: int
    headers: int
    header_seconds: float
    body_seconds: float
    reply_seconds: float


class Connection(HttpToolsProtocol):
    """HTTP/1.1 with a client. `refused` is called with the reason when it is turned away."""

    def __init__(
        self,
        limits: ConnectionLimits,
        unparsed: UnparsedBytes,
        refused: Callable[[Refusal], None],
        **uvicorns: Any,
    ) -> None:
        super().__init__(**uvicorns)
        self._limits, self._budget, self._refused = limits, unparsed, refused
        self._timer: TimerHandle | None = None
        self._waiting: TimerHandle | None = None
        self._waited, self._waits_since = 0.0, 0.0
        self._coming: Unparsed | None = None
        self._requests: deque[Unparsed] = deque()
        self._in_head, self._over = True, False
        self._head_bytes = self._body_bytes = self._framing = 0
        self._fault: tuple[Refusal, ApiError] | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._waits_since = self.loop.time()
        left = max(0.0, self._limits.reply_seconds - self._waited)
        self._waiting = self.loop.call_later(left, self._hang_up)

    def resume_writing(self) -> None:
        self._wait_no_more()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._wait_no_more()
        self._take_all()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data and not self._over:
            piece = data if self._in_body else data[:_HEAD_PIECE]
            data = data[len(piece) :]
            self._feed(piece)
        if self._coming is not None and self._timer is None and not self._over:
            self._start_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._body_bytes = self._framing = 0
        self._coming = Unparsed(self._budget, self._give_way)
        self._requests.append(self._coming)
        cast("MutableMapping[str, Any]", self.scope)[_TAKEN] = self._coming.taken

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > (most := self._limits.headers):
            raise self._at_fault(Refusal.HEADERS, 431, f"at most {most} headers: see max_headers")

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= _PIPELINED:
            raise self._at_fault(Refusal.PIPELINE, 429, "too many requests wait on this connection")
        super().on_headers_complete()
        self._in_head = False
        self._stop_timer()
        if self._coming is not None:
            self._coming.taken()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._body_bytes += len(body)
        if self._coming is not None and not self.cycle.response_complete:
            self._coming.add(len(body))

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stop_timer()
        if self._coming is not None:
            self._coming.whole = True
        self._coming = None

    def on_response_complete(self) -> None:
        if self._requests:
            self._requests.popleft().taken()
        self._waited = 0.0
        super().on_response_complete()

    @property
    def _in_body(self) -> bool:
        return self._coming is not None and not self._in_head

    def _feed(self, piece: bytes) -> None:
        """Parse some of what has come, and count it."""
        before, in_body, body_bytes = self._coming, self._in_body, self._body_bytes
        try:
            if self.parser is not None:
                self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass  # it is answered like any other
        except httptools.HttpParserError:
            self._fault = self._fault or (Refusal.INVALID, ApiError(400, "this is no HTTP/1.1"))
        if self._coming is not None and self._in_head:
            self._count_head(0 if in_body else len(piece), len(piece))
        elif in_body and before is self._coming:
            self._framing += len(piece) - (self._body_bytes - body_bytes)
            if self._framing > self._limits.header_bytes + _FRAMING * self._body_bytes:
                self._at_fault(Refusal.INVALID, 400, "a body of chunks that are nearly empty")
        if self._fault is not None:
            self._refuse(*self._fault)

    def _count_head(self, head: int, held: int) -> None:
        """Count bytes of headers that have not ended, and those that wait in the parser."""
        self._head_bytes += head
        if self._head_bytes > (most := self._limits.header_bytes):
            message = f"at most {most} bytes of headers: see max_header_bytes"
            self._at_fault(Refusal.HEADER_BYTES, 431, message)
        elif self._coming is not None:
            self._coming.add(held)

    def _at_fault(self, why: Refusal, status: int, message: str) -> ApiError:
        error = ApiError(status, message)
        self._fault = why, error
        return error

    def _start_timer(self) -> None:
        what, why = ("header", Refusal.HEADER_TIME)
        seconds = self._limits.header_seconds
        if not self._in_head:
            what, why, seconds = "body", Refusal.BODY_TIME, self._limits.body_seconds
        error = ApiError(408, f"the {what} did not come in {seconds:g} s: see {what}_seconds")
        self._timer = self.loop.call_later(seconds, partial(self._refuse, why, error))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
            self._waited += self.loop.time() - self._waits_since

    def _hang_up(self) -> None:
        """On who does not read: what is still to be sent is thrown away."""
        self._refused(Refusal.REPLY_TIME)
        self.transport.abort()

    def _give_way(self) -> None:
        message = "others needed the room while this request was coming: see max_unparsed_bytes"
        self._refuse(Refusal.UNPARSED_BYTES, ApiError(408, message))

    def _take_all(self) -> None:
        for request in self._requests:
            request.taken()
        self._requests.clear()
        self._coming = None

    def _refuse(self, why: Refusal, error: ApiError) -> None:
        """Answer with the error, unless something else is being answered, and hang up."""
        self._stop_timer()
        if self._over or self.transport.is_closing():
            return
        self._over = True
        self._refused(why)
        cycle = cast("RequestResponseCycle | None", self.cycle)
        busy = cycle is not None and not cycle.response_complete
        if self._in_head:
            mute = self._coming is None or busy
        else:
            mute = bool(self.pipeline) or (cycle is not None and cycle.response_started)
        if cycle is not None and busy:
            cycle.disconnected = True
            cycle.message_event.set()
        self.pipeline.clear()
        self._take_all()
        if mute:
            self.transport.close()
            return
        self.transport.write(_reply(error))
        self.transport.write_eof()
        self.flow.resume_reading()  # and throw away what comes
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)


def _reply(error: ApiError) -> bytes:
    """The error as the whole of a reply, the connection's last."""
    body = orjson.dumps(error.body)
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body


def taken(scope: MutableMapping[str, Any]) -> None:
    """The body of the request in this scope has been read."""
    if (tell := scope.get(_TAKEN)) is not None:
        tell()
