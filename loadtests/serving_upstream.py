"""A stub engine at next to no cost: answers like vLLM 0.32, with canned replies.

`python -m loadtests.serving_upstream --port 8100 --shape short`. It knows one model, `base`, and of
a request's fields `model`, `n`, `stream`, `stream_interval`, `return_token_ids` and `logprobs`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import cast

import orjson
import uvloop

from loadtests.serving_replies import SHAPES, Shape, Step, Wanted, json_reply, replies

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_MODELS = json_reply(
    {"object": "list", "data": [{"id": "base", "object": "model", "root": "base", "parent": None}]}
)
_ONE_TOKEN = json_reply(
    {
        "id": "cmpl-b73660ed07eb9aa3",
        "object": "text_completion",
        "created": 1_795_000_000,
        "model": "base",
        "choices": [
            {"index": 0, "text": " ", "logprobs": None, "finish_reason": "length",
             "stop_reason": None, "token_ids": None, "prompt_logprobs": None}
        ],
        "usage": {"prompt_tokens": 1, "total_tokens": 2, "completion_tokens": 1},
    }
)  # fmt: skip


def _refusal(status: bytes, message: str) -> Sequence[Step]:
    error = {"message": message, "type": "BadRequestError", "param": None, "code": int(status[:3])}
    return [Step(0, json_reply({"error": error}, status))]


_UNKNOWN_MODEL = _refusal(b"404 Not Found", "The model does not exist.")
_UNKNOWN_ROUTE = _refusal(b"404 Not Found", "Not Found")


class Replies:
    """Replies by request; the variants of each take turns."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._written: dict[Wanted, Iterator[Sequence[Step]]] = {}

    def to(self, route: bytes, body: bytes) -> Sequence[Step]:
        """The reply to a request."""
        if route == b"GET /v1/models":
            return [Step(0, _MODELS)]
        if route not in (b"POST /v1/chat/completions", b"POST /v1/completions"):
            return _UNKNOWN_ROUTE
        parsed = orjson.loads(body)
        if parsed["model"] != "base":
            return _UNKNOWN_MODEL
        if route == b"POST /v1/completions":
            return [Step(0, _ONE_TOKEN)]
        wanted = Wanted.of(parsed)
        if wanted not in self._written:
            self._written[wanted] = itertools.cycle(replies(self.shape, wanted))
        return next(self._written[wanted])


class Connection(asyncio.Protocol):
    """One connection; requests are answered in order."""

    def __init__(self, answers: Replies) -> None:
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._next: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._next is None:
            self._answer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._next is not None:
            self._next.cancel()

    def _answer(self) -> None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._received, 0, end)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) < whole:
            return
        route = bytes(self._received[: self._received.find(b" HTTP/", 0, end)])
        body = bytes(self._received[end + 4 : whole])
        del self._received[:whole]
        self._send(self._answers.to(route, body), 0, self._loop.time())

    def _send(self, steps: Sequence[Step], number: int, arrived: float) -> None:
        """Send each step by itself, as an engine does."""
        self._next = None
        if self._transport is None:
            return
        due = arrived + max(0, steps[number].token - 1) * self._answers.shape.token_ms / 1000
        if (wait := due - self._loop.time()) > 0:
            self._next = self._loop.call_later(wait, self._send, steps, number, arrived)
            return
        self._transport.write(steps[number].data)
        if number + 1 < len(steps):
            self._next = self._loop.call_soon(self._send, steps, number + 1, arrived)
        elif self._received:
            self._answer()


async def serve(host: str, port: int, shape: Shape) -> None:
    """Answer until cancelled."""
    answers = Replies(shape)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers), host, port)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    chosen = parser.parse_args()
    uvloop.run(serve(chosen.host, chosen.port, SHAPES[chosen.shape]))


if __name__ == "__main__":
    main()
