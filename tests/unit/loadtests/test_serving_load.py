"""The serving bench's clients, against its canned engine over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from loadtests.serving_load import Load, requests_of
from loadtests.serving_replies import Shape
from loadtests.serving_upstream import Connection, Replies


@asynccontextmanager
async def upstream(shape: Shape) -> AsyncGenerator[int, None]:
    answers = Replies(shape)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_as_many_requests_as_wanted_are_answered() -> None:
    async with upstream(Shape(tokens=12, variants=2)) as port:
        load = Load(port, requests_of(port, {"model": "base", "n": 4}, count=5), clients=3)
        replies = await load.run(60.0, most=50)
    assert len(replies) == 50
    assert not any(reply.failed for reply in replies)
    assert all(reply.first is None and reply.sent < reply.received for reply in replies)


async def test_time_is_a_limit_too() -> None:
    async with upstream(Shape(tokens=12, variants=2)) as port:
        load = Load(port, requests_of(port, {"model": "base"}, count=5), clients=2)
        replies = await load.run(0.1)
    assert replies and replies[-1].received - replies[0].sent < 5.0


async def test_the_first_text_of_a_stream_is_timed() -> None:
    async with upstream(Shape(tokens=12, token_ms=10.0, variants=2)) as port:
        body = {"model": "base", "stream": True}
        [reply] = await Load(port, requests_of(port, body, count=1), clients=1).run(60.0, most=1)
    assert not reply.failed
    assert reply.seconds >= 0.1  # eleven tokens after the first
    assert reply.to_first < reply.seconds - 0.1


async def test_a_rollout_is_as_late_as_it_is_long() -> None:
    async with upstream(Shape(tokens=31, token_ms=5.0, variants=1)) as port:
        [reply] = await Load(
            port, requests_of(port, {"model": "base", "n": 2}, count=1), clients=1
        ).run(60.0, most=1)
    assert reply.seconds >= 0.145


@pytest.mark.parametrize("model", ["other", ""])
async def test_a_refusal_counts_as_failed(model: str) -> None:
    async with upstream(Shape(tokens=12, variants=1)) as port:
        load = Load(port, requests_of(port, {"model": model}, count=1), clients=1)
        replies = await load.run(60.0, most=3)
    assert [reply.failed for reply in replies] == [True] * 3


async def test_a_connection_that_breaks_is_made_anew() -> None:
    begun = 0

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal begun
        begun += 1
        with contextlib.suppress(asyncio.IncompleteReadError):  # the last sends nothing
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        writer.close()

    async with await asyncio.start_server(break_off, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        load = Load(port, requests_of(port, {"model": "base"}, count=1), clients=1)
        replies = await load.run(60.0, most=2)
    assert [reply.failed for reply in replies] == [True, True]
    assert begun == 3  # and one to learn that it is over
