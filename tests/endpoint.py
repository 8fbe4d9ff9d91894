"""An OpenAI-compatible endpoint of somebody else's, which can fail in every way such things do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class Endpoint:
    """Answers `answer(prompt, index)` n times; `before` is awaited for each request and may return
    a response of its own."""

    def __init__(self, answer: Callable[[str, int], str]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.finish = "stop"
        self.models_status = 200
        self.most_at_once = 0
        self.url = ""
        self._under_way = 0

    async def before(self, body: dict[str, Any]) -> web.Response | None:
        """Replaced by tests."""
        return None

    async def models(self, _: web.Request) -> web.Response:
        if self.models_status != 200:
            return web.json_response({"detail": "Not Found"}, status=self.models_status)
        row = {"id": "theirs", "object": "model", "created": 1, "owned_by": "them"}
        return web.json_response({"object": "list", "data": [row]})

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            if (other := await self.before(body)) is not None:
                return other
            await asyncio.sleep(0)
        finally:
            self._under_way -= 1
        prompt = body["messages"][0]["content"]
        return web.json_response(
            {
                "id": "1", "object": "chat.completion", "created": 1, "model": body["model"],
                "choices": [
                    {
                        "index": index, "finish_reason": self.finish,
                        "message": {"role": "assistant", "content": self.answer(prompt, index)},
                    }
                    for index in range(body["n"])
                ],
                "usage": {
                    "prompt_tokens": 3, "completion_tokens": 10 * body["n"], "total_tokens": 0,
                },
            }
        )  # fmt: skip

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Endpoint"]:
        app = web.Application()
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/chat/completions", self.complete)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"
        try:
            yield self
        finally:
            await runner.cleanup()
