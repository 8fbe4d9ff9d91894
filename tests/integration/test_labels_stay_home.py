"""I10: what the demo's client knows and the server must not: the labels."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import redis
from openai import AsyncOpenAI

from adapter.store.redis.buffer import RedisBuffer
from adapter.store.wire import unpack
from evals.evaluation import Evaluator, Graded, Protocol
from evals.items import Item
from evals.traffic import GradingClient, TrafficLog
from rewards.answers.math_answers import MathAnswers
from server.engine.scripted import ScriptedEngine
from server.http.app import create_app
from server.parts import Parts
from server.settings import ServerSettings
from tests.serving import until

LABEL = "8675309"


class Recording(httpx2.ASGITransport):
    """Keeps the bytes of every request that passes."""

    sent = b""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent += str(request.url).encode() + repr(request.headers.raw).encode()
        self.sent += await request.aread()
        return await super().handle_async_request(request)


@pytest.fixture
async def wired(each_server) -> AsyncIterator[tuple[AsyncOpenAI, Recording, Parts]]:
    engine = ScriptedEngine(lambda _model, _messages, n: [rf"\boxed{{{i % 2}}}" for i in range(n)])
    parts = Parts(ServerSettings(redis_url=each_server.url, gate_holdout=0), engine=engine)
    recording = Recording(create_app(parts))  # type: ignore[arg-type]
    http = httpx2.AsyncClient(transport=recording, base_url="http://t")
    async with parts.running(), http:
        yield (
            AsyncOpenAI(base_url="http://t/v1", api_key="none", http_client=http),
            recording,
            parts,
        )


def everything_in(server, only: bytes | None = None) -> bytes:
    """All keys and values of the database, or of one key; groups unpacked."""
    client = redis.Redis(port=server.port)
    found = b""
    for key in list(client.scan_iter()) if only is None else [only]:
        found += key
        kind = client.type(key)
        if kind == b"stream":
            for _, fields in client.xrange(key):
                found += repr(unpack(fields[b"g"]) if b"g" in fields else fields).encode()
        elif kind == b"hash":
            found += repr(client.hgetall(key)).encode()
        elif kind == b"zset":
            found += repr(client.zrange(key, 0, -1)).encode()
        else:
            found += repr(client.get(key)).encode()
    client.close()
    return found


async def test_no_label_leaves_the_client(wired, each_server) -> None:
    client, recording, parts = wired
    item = Item("q1", "What is 2+2?", LABEL)
    log, graded = TrafficLog(), list[Graded]()
    await GradingClient(client, "ratchet", MathAnswers()).ask(item, log)
    protocol = Protocol(n=2, max_tokens=64)
    await Evaluator(client, "ratchet@base", protocol, MathAnswers()).run([item], graded.append)
    await parts.flush(5)
    assert [list(one.answers) for one in graded] == [["0", "1"]]
    assert (len(log.replies), log.failed) == (1, 0)
    assert (await parts.buffer.state()).waiting == 1
    kept = everything_in(each_server)
    for seen in (recording.sent, kept):
        assert b"2+2" in seen
        assert LABEL.encode() not in seen
    assert isinstance(parts.buffer, RedisBuffer)


async def test_feedback_reaches_the_gate_and_nothing_that_learns_or_is_looked_at(
    wired, each_server, caplog
) -> None:
    client, _, parts = wired
    item, log = Item("q1", "What is 2+2?", "x"), TrafficLog()
    await GradingClient(client, "ratchet", MathAnswers()).ask(item, log)
    await until(lambda: not parts.feedback.unstored)
    store = redis.Redis(port=each_server.port)
    answered = "{ratchet}-feedback:answered:"
    [key] = [key.decode() for key in store.scan_iter() if key.decode().startswith(answered)]
    await parts.feedback.give(key.removeprefix(answered), LABEL, None)
    await parts.flush(5)
    [kept] = await parts.feedback_store.labelled()
    assert kept.label == LABEL
    holding = [
        key for key in store.scan_iter() if LABEL.encode() in everything_in(each_server, key)
    ]
    assert holding == [b"{ratchet}-feedback:labels"]
    assert LABEL.encode() not in parts.metrics.expose()
    assert LABEL not in caplog.text
    store.close()
