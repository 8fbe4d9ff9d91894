"""Quotas of keys on every surface, whatever becomes of a request."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from server.api.tenants import add_key
from server.engine.base import EngineFailed, EngineRefused, EngineTimeout
from tests.serving import QUESTION, Api, serving, until


@asynccontextmanager
async def limited(folder: Path, **settings: Any) -> AsyncIterator[Api]:
    """A server whose one client has thirty tokens a minute, or as `settings` say."""
    names = ("requests_per_minute", "tokens_per_minute")
    limits = {name: settings.pop(name) for name in names if name in settings}
    key = add_key(folder / "keys.jsonl", "ada", **(limits or {"tokens_per_minute": 30}))
    async with serving(keys_file=folder / "keys.jsonl", **settings) as api:
        api.client.headers["authorization"] = f"Bearer {key}"
        yield api


async def test_over_the_quota_is_a_429_with_the_time_to_wait(tmp_path: Path) -> None:
    async with limited(tmp_path, requests_per_minute=2, tokens_per_minute=1e9) as api:
        statuses = [(await api.chat()).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        reply = await api.chat()
        assert reply.json()["error"]["type"] == "rate_limit_error"
        assert 1 <= int(reply.headers["retry-after"]) <= 31


async def test_tokens_of_all_rollouts_count(tmp_path: Path) -> None:
    async with limited(tmp_path) as api:
        assert (await api.chat()).status_code == 200  # more than thirty of them
        assert (await api.chat()).status_code == 429


CHAT = {"model": "ratchet", "messages": QUESTION}
SURFACES = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "ratchet", "prompt": "2+2="},
    "/v1/responses": {"model": "ratchet", "input": "2+2?"},
    "/v1/messages": {**CHAT, "max_tokens": 100},
    "/v1/messages/count_tokens": CHAT,
    "/v1/embeddings": {"model": "ratchet", "input": "x" * 400},
    "/tokenize": {"prompt": "x" * 400},
    "/detokenize": {"tokens": [1] * 100},
}


@pytest.mark.parametrize("path", SURFACES)
async def test_each_surface_counts_and_is_counted(tmp_path: Path, path: str) -> None:
    async with limited(tmp_path) as api:
        reply = await api.client.post(path, json=SURFACES[path])
        assert reply.status_code == 200
        if path != "/v1/embeddings":  # of which the engine here says that it read one token
            assert (await api.client.post(path, json=SURFACES[path])).status_code == 429
    async with limited(tmp_path) as api:
        assert (await api.chat()).status_code == 200
        assert (await api.client.post(path, json=SURFACES[path])).status_code == 429


async def test_many_at_once_are_checked_one_by_one(tmp_path: Path) -> None:
    async with limited(tmp_path) as api:
        asked = [api.chat() for _ in range(20)]
        statuses = [reply.status_code for reply in await asyncio.gather(*asked)]
    assert statuses.count(200) == 1 and statuses.count(429) == 19


async def test_bodies_that_come_slowly_are_checked_when_they_are_there(tmp_path: Path) -> None:
    async with limited(tmp_path, requests_per_minute=1) as api:
        whole = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b'{"model": "ratchet", '
            await whole.wait()
            yield b'"messages": [{"role": "user", "content": "2+2?"}]}'

        kind = {"content-type": "application/json"}
        asked = [
            asyncio.create_task(
                api.client.post("/v1/chat/completions", content=body(), headers=kind)
            )
            for _ in range(5)
        ]
        await asyncio.sleep(0)
        whole.set()
        statuses = [reply.status_code for reply in await asyncio.gather(*asked)]
    assert sorted(statuses) == [200, 429, 429, 429, 429]


@pytest.mark.parametrize(
    ("fault", "next_one"),
    [
        (EngineRefused(400, "too long"), 200),
        (EngineFailed("an error event"), 200),
        (EngineTimeout("too slow"), 429),  # it has worked on it all the while
    ],
)
@pytest.mark.parametrize(
    "extra",
    [{}, {"stream": True}, {"ratchet": {"rollouts": 1}},
     {"ratchet": {"rollouts": 1}, "stream": True},
     {"ratchet": {"stream": "first"}, "stream": True}],
)  # fmt: skip
async def test_what_the_engine_refuses_costs_nothing(
    tmp_path: Path, fault: Exception, next_one: int, extra: dict[str, Any]
) -> None:
    async with limited(tmp_path) as api:
        api.engine.fault = fault  # type: ignore[assignment]
        assert (await api.chat(**extra)).status_code >= 400
        api.engine.fault = None
        assert (await api.chat()).status_code == next_one


@pytest.mark.parametrize(
    "extra",
    [{}, {"stream": True}, {"ratchet": {"rollouts": 1}, "stream": True},
     {"ratchet": {"stream": "progress"}, "stream": True},
     {"ratchet": {"stream": "first"}, "stream": True}],
)  # fmt: skip
async def test_who_hangs_up_pays(tmp_path: Path, extra: dict[str, Any]) -> None:
    async with limited(tmp_path) as api:
        api.says(r"It is a long way to \boxed{4}, but here we are.")
        api.hold_back(0, 1, 2)
        text = {"messages": [{"role": "user", "content": "2+2? " * 40}]}
        await hang_up(api, {**CHAT, **text, **extra}, lambda: api.engine.under_way)
        await until(lambda: api.at_rest)
        api.engine.held_back.clear()
        assert (await api.chat()).status_code == 429


async def test_streams_are_charged_by_the_engine_s_usage(tmp_path: Path) -> None:
    async with limited(tmp_path) as api:
        api.says("four")
        for asked in ({}, {"stream_options": {"include_usage": True}}):
            reply = await api.chat(stream=True, ratchet={"rollouts": 1}, **asked)
            assert ('"usage"' in reply.text) == bool(asked)
            assert reply.text.endswith("data: [DONE]\n\n")
        assert b'ratchet_tokens_total{purpose="answer"} 10.0' in api.parts.metrics.expose()


async def hang_up(api: Api, body: dict[str, Any], when: Callable[[], object]) -> None:
    """Ask, and disconnect once the condition holds."""
    request = api.client.build_request("POST", "/v1/chat/completions", json=body)
    scope = {
        "type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"",
        "headers": [(k.lower(), v) for k, v in request.headers.raw], "http_version": "1.1",
        "scheme": "http", "server": ("t", 80), "client": ("c", 1), "root_path": "",
        "raw_path": b"/v1/chat/completions",
    }  # fmt: skip
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": request.content, "more_body": False}
        await until(when)
        for _ in range(20):
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        return None

    await api.app(scope, receive, send)


@pytest.mark.parametrize("path", [*SURFACES, "/v1/feedback"])
async def test_what_is_no_request_counts_as_one(tmp_path: Path, path: str) -> None:
    """Else whoever is over the quota has bodies read, and errors written, all day."""
    async with limited(tmp_path, requests_per_minute=2, tokens_per_minute=1e9) as api:
        statuses = [(await api.client.post(path, json={"odd": 1})).status_code for _ in range(4)]
        assert statuses == [400, 400, 429, 429]


async def test_feedback_counts_as_a_request(tmp_path: Path) -> None:
    async with limited(tmp_path, requests_per_minute=2, tokens_per_minute=1e9) as api:
        body = {"completion_id": "chatcmpl-x", "label": "4"}
        statuses = [
            (await api.client.post("/v1/feedback", json=body)).status_code for _ in range(3)
        ]
        assert statuses == [404, 404, 429]
