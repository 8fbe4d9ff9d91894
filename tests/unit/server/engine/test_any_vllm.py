"""A vLLM server as somebody else has started it: what it serves is asked, what is wrong is said."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from server.engine.base import (
    BASE_MODEL,
    EngineError,
    EngineRefused,
    EngineRequest,
    EngineUnavailable,
    Priority,
    Service,
    draw_all,
)
from server.engine.replica_set import ReplicaSet
from server.engine.vllm import VllmEngine
from server.metrics import ServerMetrics
from tests.serving import until

ADAPTER = {"id": "v1-abc", "parent": "Qwen/Qwen2.5"}
SERVED = {"id": "Qwen/Qwen2.5", "parent": None}
STREAM = (
    'data: {"choices":[{"index":0,"text":"4","logprobs":{"token_logprobs":[-0.1]},'
    '"finish_reason":"length","stop_reason":null,"token_ids":[4],"prompt_token_ids":[1]}]}\n\n'
    "data: [DONE]\n\n"
)


class Vllm:
    """A stand-in whose list of models, key and scheduling a test sets."""

    def __init__(self) -> None:
        self.cards: list[Mapping[str, Any]] | None = [ADAPTER, SERVED]
        self.prioritised, self.key = True, ""
        self.asked: list[dict[str, Any]] = []

    async def models(self, request: web.Request) -> web.Response:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if self.cards is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        return web.json_response({"object": "list", "data": self.cards})

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if body["model"] not in [card["id"] for card in self.cards or ()]:
            message = f"The model `{body['model']}` does not exist."
            return web.json_response({"error": {"message": message, "param": "model"}}, status=404)
        if body.get("priority") and not self.prioritised:
            message = f"Got priority {body['priority']} but Priority scheduling is not enabled."
            return web.json_response({"error": {"message": message}}, status=400)
        if body["prompt"] == "":
            message = "The decoder prompt cannot be empty"
            return web.json_response({"error": {"message": message}}, status=400)
        self.asked.append(body)
        if body.get("stream"):
            return web.Response(text=STREAM, content_type="text/event-stream")
        return web.json_response({"model": body["model"], "choices": [{"finish_reason": "length"}]})

    @asynccontextmanager
    async def engine(self, model: str = "", key: str = "") -> AsyncIterator[VllmEngine]:
        """Us, before it."""
        app = web.Application()
        app.add_routes([web.post("/v1/completions", self.complete)])
        app.add_routes([web.get("/v1/models", self.models)])
        async with TestServer(app) as server:
            engine = VllmEngine(str(server.make_url("/v1/")), model, 5.0, key)
            yield engine
            await engine.close()


PROMPT = EngineRequest(BASE_MODEL, "2+2=", {"n": 1})


@pytest.fixture
def vllm() -> Vllm:
    return Vllm()


async def test_the_base_model_s_name_is_found_by_asking(vllm: Vllm) -> None:
    async with vllm.engine() as engine:
        await engine.probe()
        assert await engine.models() == ["v1-abc", BASE_MODEL]
        await draw_all(engine, PROMPT)
        await engine.complete(PROMPT)
    assert {body["model"] for body in vllm.asked} == {"Qwen/Qwen2.5"}


async def test_a_name_that_is_set_is_used_without_asking(vllm: Vllm) -> None:
    vllm.cards = [SERVED, {"id": "alias", "parent": None}]
    async with vllm.engine("alias") as engine:
        await engine.probe()
        assert await engine.models() == ["Qwen/Qwen2.5", BASE_MODEL]
    assert vllm.asked[0]["model"] == "alias"


async def test_an_engine_that_serves_another_model_is_asked_again(vllm: Vllm) -> None:
    async with vllm.engine() as engine:
        await engine.probe()
        vllm.cards = [{"id": "other", "parent": None}]
        with pytest.raises(EngineRefused):
            await engine.probe()
        await engine.probe()
    assert [body["model"] for body in vllm.asked] == ["Qwen/Qwen2.5", "other"]


async def test_work_is_given_without_priorities_where_there_are_none(vllm: Vllm) -> None:
    vllm.prioritised = False
    async with vllm.engine() as engine:
        await engine.probe()
        await draw_all(engine, EngineRequest(BASE_MODEL, "x", {"n": 1}, Priority.TOP_UP))
    assert all("priority" not in body for body in vllm.asked)


async def test_a_key_is_sent(vllm: Vllm) -> None:
    vllm.key = "secret"
    async with vllm.engine(key="secret") as engine:
        await engine.probe()


def wrong_name(vllm: Vllm) -> str:
    return "it serves Qwen/Qwen2.5, not wrong: change engine_model"


def no_list(vllm: Vllm) -> str:
    vllm.cards = None
    return "is engine_url right"


def no_model(vllm: Vllm) -> str:
    vllm.cards = [ADAPTER]
    return "it serves no model"


def locked(vllm: Vllm) -> str:
    vllm.key = "secret"
    return "set engine_key"


@pytest.mark.parametrize("fault", [wrong_name, no_list, no_model, locked])
async def test_what_is_wrong_is_said_once_in_one_line(
    vllm: Vllm, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    expected = fault(vllm)
    async with vllm.engine("wrong" if fault is wrong_name else "") as engine:
        for _ in range(2):
            with pytest.raises(EngineUnavailable, match=expected):
                await engine.probe()
        probes, looked = 0, engine.probe

        async def counted() -> None:
            nonlocal probes
            probes += 1
            await looked()

        engine.probe = counted  # type: ignore[method-assign]
        both = ReplicaSet({"h:1": engine}, 0.001, ServerMetrics())
        with caplog.at_level(logging.WARNING, "ratchet.engine"):
            async with running(both):
                await until(lambda: probes > 3)
        assert not both.up
    [line] = caplog.messages
    assert expected in line
    assert line.startswith("engine h:1: ")
    assert "secret" not in line


@asynccontextmanager
async def running(replicas: ReplicaSet) -> AsyncIterator[None]:
    task = asyncio.create_task(replicas.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_nobody_listens() -> None:
    engine = VllmEngine("http://127.0.0.1:9", "", 5.0)
    with pytest.raises(EngineUnavailable, match="is engine_url right"):
        await engine.probe()
    await engine.close()


async def test_an_engine_without_embeddings_or_adapters_says_so(vllm: Vllm, adapters: Any) -> None:
    async with vllm.engine() as engine:
        with pytest.raises(EngineRefused, match="offers no embeddings") as refused:
            await engine.serve(Service.EMBEDDINGS, EngineRequest(BASE_MODEL, "", {"input": "a"}))
        assert (refused.value.status, refused.value.code) == (400, "unsupported")
        with pytest.raises(EngineRefused, match="--enable-lora"):
            await engine.load("v2", str(adapters("honest")))


async def test_an_empty_prompt_that_is_refused_is_named(vllm: Vllm) -> None:
    async with vllm.engine() as engine:
        with pytest.raises(EngineError) as refused:
            await engine.complete(EngineRequest(BASE_MODEL, "", {}))
    assert getattr(refused.value, "param", None) == "prompt"
