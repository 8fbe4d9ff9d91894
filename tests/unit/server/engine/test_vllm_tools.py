"""Tool calls and reasoning over HTTP, in the shape in which vLLM 0.32 streams them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rewards.rollouts import ToolCall
from server.engine.base import EngineRefused, EngineRequest, draw_all
from server.engine.vllm import VllmEngine

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ASKED = [{"role": "user", "content": "What is the weather in Rome?"}]


def event(index: int, delta: dict[str, Any], ids: list[int], finish: str | None = None) -> str:
    """A chunk with its members in vLLM's order."""
    content = [{"token": "t", "logprob": -float(i), "bytes": [1], "top_logprobs": []} for i in ids]
    choice = {
        "index": index, "delta": delta, "logprobs": {"content": content}, "finish_reason": finish,
        "token_ids": ids,
    }  # fmt: skip
    return json.dumps({"id": "x", "choices": [choice]}, separators=(",", ":"))


def call(at: int, **function: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": at, "function": function}]}


NAMED = {"tool_calls": [{"id": "call_x", "type": "function", "index": 0,
                         "function": {"name": "weather"}}]}  # fmt: skip
ROLE = '{"id":"x","prompt_token_ids":[7,8],"choices":[{"index":0,"delta":{"role":"assistant"}}]}'
EVENTS = [
    ROLE,
    event(0, {"reasoning": "hm "}, [1]),
    event(1, {"content": 'Say ],"finish_reason": or "logprobs":{"content":[ '}, [9]),
    event(0, {}, [2]),  # a part of the call's syntax, which is no text
    event(0, NAMED, [3]),
    event(0, call(0, arguments='{"city": "R'), [4]),
    event(1, {"content": "?"}, [10], "stop"),
    event(0, call(0, arguments='ome"}'), [5, 6], "tool_calls"),
    "[DONE]",
]
REFUSED = {"error": {"message": '"auto" tool choice requires --enable-auto-tool-choice and '
                                "--tool-call-parser to be set", "code": 400}}  # fmt: skip


@asynccontextmanager
async def serving(*, refuse: bool = False) -> AsyncIterator[tuple[VllmEngine, list[Any]]]:
    """An engine that streams EVENTS, and the bodies it was asked with."""
    bodies: list[Any] = []

    async def complete(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        if refuse:
            return web.json_response(REFUSED, status=400)
        text = "".join(f"data: {one}\n\n" for one in EVENTS)
        return web.Response(text=text, content_type="text/event-stream")

    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", complete)])
    async with TestServer(app) as server:
        engine = VllmEngine(str(server.make_url("")), "base", 5.0)
        yield engine, bodies
        await engine.close()


@pytest.mark.parametrize("more", [{}, {"logprobs": True, "top_logprobs": 2}])
async def test_every_token_of_a_call_is_recorded(more: dict[str, Any]) -> None:
    options = {"n": 2, "tools": [TOOL], **more}
    async with serving() as (engine, bodies):
        called, asked = await draw_all(engine, EngineRequest("base", ASKED, options))
        assert called.rollout.calls == (ToolCall("weather", '{"city": "Rome"}'),)
        assert list(called.rollout.token_ids) == [1, 2, 3, 4, 5, 6]
        assert list(called.rollout.logprobs) == [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]
        assert called.choice["message"]["reasoning"] == "hm "
        assert (called.rollout.text, called.rollout.finish_reason) == ("", "tool_calls")
        assert (asked.rollout.calls, list(asked.rollout.logprobs)) == ((), [-9.0, -10.0])
        [body] = bodies
        assert body["tools"] == [TOOL]
        # Not all at once: its llama3_json parser would find no call.
        assert "stream_interval" not in body


async def test_an_engine_without_a_parser_is_told_of_the_setting() -> None:
    async with serving(refuse=True) as (engine, _):
        with pytest.raises(EngineRefused, match="set tool_call_parser") as refused:
            await draw_all(engine, EngineRequest("base", ASKED, {"n": 1, "tools": [TOOL]}))
        assert (refused.value.status, refused.value.param) == (400, "tools")
