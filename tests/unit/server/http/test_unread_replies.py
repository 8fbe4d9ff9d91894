"""Clients that do not read their replies, over real connections."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import uvicorn

from server.engine.scripted import ScriptedEngine
from server.http.app import create_app
from server.http.connections import Connection, ConnectionLimits
from server.http.unparsed import UnparsedBytes
from server.parts import Parts
from server.policy.reasons import Refusal
from server.settings import ServerSettings
from tests.ports import free_port
from tests.serving import QUESTION, until

LONG = "x" * 30_000
"""As a stream some megabytes, more than the kernel keeps for who does not read."""


class Served:
    """A server on a port, whose replies wait for `seconds` to be read."""

    def __init__(self, seconds: float) -> None:
        self.engine = ScriptedEngine(lambda *_: [LONG])
        self.port, self.refusals = free_port(), list[Refusal]()
        self.parts = Parts(ServerSettings(redis_url="memory://"), engine=self.engine)
        limits = ConnectionLimits(
            header_bytes=9_999, headers=99, header_seconds=60, body_seconds=60,
            reply_seconds=seconds,
        )  # fmt: skip
        budget = UnparsedBytes(1 << 20)
        made = cast("Any", partial(Connection, limits, budget, self.refusals.append))
        self.listener = uvicorn.Server(
            uvicorn.Config(create_app(self.parts), port=self.port, http=made, log_config=None)
        )

    def asked(self, model: str = "ratchet") -> bytes:
        """A request for a long stream."""
        fields = {"stream": True, "max_tokens": 32_768, "ratchet": {"rollouts": 1}}
        body = json.dumps({"model": model, "messages": QUESTION, **fields}).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def connected(self, kept: int = 4_096) -> socket.socket:
        """A connection of whose reply the kernel keeps so many bytes."""
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kept)
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", self.port))
        return one


@asynccontextmanager
async def served(seconds: float) -> AsyncIterator[Served]:
    one = Served(seconds)
    serving = asyncio.create_task(one.listener.serve())
    await until(lambda: one.listener.started)
    yield one
    one.listener.should_exit = True
    await serving


async def test_what_is_held_for_who_does_not_read_is_free_again() -> None:
    loop = asyncio.get_running_loop()
    async with served(0.2) as one:
        clients: Sequence[socket.socket] = [await one.connected() for _ in range(4)]
        for client in clients:
            await loop.sock_sendall(client, one.asked())
        await until(lambda: len(one.refusals) == 4)
        await until(lambda: not one.parts.admission.requests)
        assert set(one.refusals) == {Refusal.REPLY_TIME}
        assert (one.parts.policy.held, one.engine.under_way) == (0, 0)
        for client in clients:
            client.close()


async def test_who_reads_slowly_gets_all() -> None:
    loop = asyncio.get_running_loop()
    async with served(30.0) as one:
        client, got = await one.connected(65_536), b""
        await loop.sock_sendall(client, one.asked())
        while data := await loop.sock_recv(client, 65_536):
            got += data
            await asyncio.sleep(0)
        assert got.count(b'"content":"x"') >= 1
        assert b"[DONE]" in got
        assert one.refusals == []
        client.close()
