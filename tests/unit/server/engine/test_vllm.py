"""vLLM over HTTP while it ends: what it says then was recorded from vLLM 0.32 under SIGTERM with
`--shutdown-timeout`. Its `/health` says 200 all the while."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from server.engine.base import EngineRequest, EngineUnavailable, Names, draw_all
from server.engine.replica_set import ReplicaSet
from server.engine.scripted import ScriptedEngine
from server.engine.vllm import VllmEngine
from server.metrics import ServerMetrics

WHOLE = (
    '{"id":"cmpl-8a5c","object":"text_completion","created":1,"model":"base","choices":[{"index":0,'
    '"text":"","logprobs":null,"finish_reason":"abort","stop_reason":null,"token_ids":null,'
    '"prompt_logprobs":null,"prompt_token_ids":null,"routed_experts":null}],"service_tier":null}'
)
BEGUN = (
    'data: {"id":"cmpl-8a5c","object":"text_completion","created":1,"model":"base","choices":'
    '[{"index":0,"text":"4","logprobs":{"token_logprobs":[-0.1]},"finish_reason":%s,'
    '"stop_reason":null,"token_ids":[4],"prompt_token_ids":[1]}]}\n\n'
)
DONE = "data: [DONE]\n\n"
PROMPT = EngineRequest("base", "2+2=", {"n": 1})


@asynccontextmanager
async def ending(stream: str) -> AsyncIterator[VllmEngine]:
    """An engine that ends, and what it streams."""

    async def complete(request: web.Request) -> web.Response:
        if (await request.json()).get("stream"):
            return web.Response(text=stream, content_type="text/event-stream")
        return web.Response(text=WHOLE, content_type="application/json")

    app = web.Application()
    app.add_routes([web.post("/v1/completions", complete)])
    async with TestServer(app) as server:
        engine = VllmEngine(str(server.make_url("")), "base", 5.0)
        yield engine
        await engine.close()


async def draw(engine: VllmEngine) -> None:
    await draw_all(engine, PROMPT)


async def write(engine: VllmEngine) -> None:
    async with engine.write(PROMPT) as batches:
        _ = [batch async for batch in batches]


async def stream(engine: VllmEngine) -> None:
    async with engine.stream(PROMPT, Names("ours", "ratchet")) as batches:
        _ = [batch async for batch in batches]


async def complete(engine: VllmEngine) -> None:
    await engine.complete(PROMPT)


async def probe(engine: VllmEngine) -> None:
    await engine.probe()


@pytest.mark.parametrize("streamed", [DONE, BEGUN % "null" + BEGUN % '"abort"' + DONE])
@pytest.mark.parametrize("call", [draw, write, stream, complete, probe])
async def test_an_engine_that_ends_is_no_engine(
    call: Callable[[VllmEngine], Awaitable[None]], streamed: str
) -> None:
    """Else a vote would count answers that nobody gave, and the probe call it well."""
    async with ending(streamed) as engine:
        with pytest.raises(EngineUnavailable, match="is ending"):
            await call(engine)


async def test_what_is_finished_meanwhile_counts() -> None:
    async with ending(BEGUN % '"length"' + DONE) as engine:
        [draw] = await draw_all(engine, PROMPT)
        assert draw.rollout.text == "4"


async def test_another_replica_is_asked_in_its_place() -> None:
    async with ending(DONE) as engine:
        other = ScriptedEngine(lambda _model, _prompt, n: ["well"] * n)
        both = ReplicaSet({"ending": engine, "other": other}, 0.01, ServerMetrics())
        for replica in both.replicas:
            replica.up = True
        both.replicas[1].in_flight = 100  # so the first is preferred
        completion = await both.complete(PROMPT)
        assert completion["choices"][0]["text"] == "well"
        assert [replica.up for replica in both.replicas] == [False, True]
