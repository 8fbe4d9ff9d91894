"""Closed-loop clients over bare sockets, so that the load generator itself costs little."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from evals.arithmetic.questions import questions

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_BACK_OFF = 0.1


@dataclass(frozen=True, slots=True)
class Reply:
    """One request's end. `first` is when the first text came, where the reply was streamed."""

    sent: float
    received: float
    first: float | None
    failed: bool

    @property
    def seconds(self) -> float:
        """From sending to the whole reply."""
        return self.received - self.sent

    @property
    def to_first(self) -> float:
        """From sending to the first text."""
        return (self.first or self.received) - self.sent


@dataclass(frozen=True, slots=True)
class Surface:
    """One form of asking and answering: where it is, the fields that put a question, and what marks
    a stream's first text and the end of one that has succeeded."""

    path: str
    asked: Callable[[str], Mapping[str, Any]]
    written: re.Pattern[bytes]
    ended: bytes


def _turn(question: str) -> Mapping[str, Any]:
    return {"messages": [{"role": "user", "content": question}]}


CHAT = Surface("/v1/chat/completions", _turn, re.compile(rb'"content": ?"[^"]'), b"data: [DONE]")
RESPONSES = Surface(
    "/v1/responses", lambda question: {"input": question},
    re.compile(rb"response.output_text.delta"), b"event: response.completed",
)  # fmt: skip
MESSAGES = Surface("/v1/messages", _turn, re.compile(rb"text_delta"), b"event: message_stop")


def requests_of(
    port: int,
    fields: Mapping[str, Any],
    key: str = "none",
    count: int = 2000,
    surface: Surface = CHAT,
) -> list[bytes]:
    """HTTP requests ready to send, each with a question of its own."""
    rows: list[bytes] = []
    for question in questions(seed=11, count=count):
        body = orjson.dumps({**fields, **surface.asked(question.text)})
        rows.append(
            b"POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n"
            b"authorization: Bearer %s\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (surface.path.encode(), port, key.encode(), len(body), body)
        )
    return rows


class Load:
    """`clients` clients of one server: each asks again as soon as it has its reply."""

    def __init__(
        self, port: int, requests: Sequence[bytes], clients: int, surface: Surface = CHAT
    ) -> None:
        self.port, self._clients, self.surface = port, clients, surface
        self._requests: Iterator[bytes] = itertools.cycle(requests)
        self._until, self._left = 0.0, 0
        self.replies: list[Reply] = []

    async def run(self, seconds: float, most: int = 10**9) -> list[Reply]:
        """Ask for so long, or so many times; returns the replies once the last one is in."""
        self._until, self._left, self.replies = time.perf_counter() + seconds, most, []
        loop = asyncio.get_running_loop()
        clients = [Client(self) for _ in range(self._clients)]
        for client in clients:
            await loop.create_connection(lambda client=client: client, "127.0.0.1", self.port)
        await asyncio.gather(*(client.done for client in clients))
        return self.replies

    def next_request(self) -> bytes | None:
        """What to ask now; None when it is over."""
        if self._left <= 0 or time.perf_counter() >= self._until:
            return None
        self._left -= 1
        return next(self._requests)


class Client(asyncio.Protocol):
    """One connection, reopened after a failure."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._sent = 0.0
        self._first: float | None = None
        self._body = 0
        self._length: int | None = None
        self._asking = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._asking:
            self._note(failed=True)
        if not self.done.done():
            self._loop.call_later(_BACK_OFF, lambda: self._loop.create_task(self._reconnect()))

    async def _reconnect(self) -> None:
        try:
            await self._loop.create_connection(lambda: self, "127.0.0.1", self._load.port)
        except OSError as error:
            self.done.set_exception(error)

    def data_received(self, data: bytes) -> None:
        got = self._received
        got += data
        if not self._body:
            if (end := got.find(b"\r\n\r\n")) < 0:
                return
            self._body = end + 4
            length = _LENGTH.search(got, 0, end)
            self._length = self._body + int(length[1]) if length else None
        written = self._load.surface.written.search
        if self._first is None and self._length is None and written(got, self._body):
            self._first = time.perf_counter()
        whole = got.endswith(_LAST_CHUNK) if self._length is None else len(got) >= self._length
        if whole:
            streamed = got.find(b"text/event-stream", 0, self._body) >= 0
            broken = streamed and got.rfind(self._load.surface.ended) < self._body
            self._note(failed=broken or not got.startswith(b"HTTP/1.1 200"))
            self._ask()

    def _note(self, *, failed: bool) -> None:
        self._asking = False
        reply = Reply(self._sent, time.perf_counter(), self._first, failed)
        self._load.replies.append(reply)

    def _ask(self) -> None:
        assert self._transport is not None
        request = self._load.next_request()
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._received.clear()
        self._body, self._length, self._first = 0, None, None
        self._asking, self._sent = True, time.perf_counter()
        self._transport.write(request)
