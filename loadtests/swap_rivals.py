"""Three ways to change an adapter in use, in front of the same engine: reject, hold, in place.

Our own chat service with one adapter under one name, and `POST /swap` in place of promotion.
Started by `loadtests.swap_bench`, which explains and measures them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ratchet.settings import read
from server.http.app import create_app
from server.parts import Parts
from server.settings import ServerSettings

_NAME = "tenant"


class RivalParts(Parts):
    """A server without promotion: what is live is decided by `Swaps`."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        jobs = (self.recorder.run(), self.recorder.watch(), self.engine.run(), self.feedback.run())
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.judge.close()
            await self.engine.close()
            await self.feedback_store.close()
            await self.buffer.close()
            await self.releases.close()


class Swaps:
    """Passes requests on, or holds or rejects them while the adapter is swapped."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app, self._policy = app, parts.policy
        self._engine_url = parts.settings.engine_url
        self._version: int | None = None
        self._rejecting = False
        self._open, self._idle = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._idle.set()
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path")
        if path == "/swap":
            wanted = orjson.loads(await Request(scope, receive).body())
            await self._swap(wanted["how"], wanted["version"], wanted["folder"])
            await Response(status_code=204)(scope, receive, send)
        elif path != "/v1/chat/completions":
            await self._app(scope, receive, send)
        elif self._rejecting:
            await JSONResponse({"error": {"message": "swapping"}}, 503)(scope, receive, send)
        else:
            await self._open.wait()
            self._running += 1
            self._idle.clear()
            try:
                await self._app(scope, receive, send)
            finally:
                self._running -= 1
                if not self._running:
                    self._idle.set()

    async def _swap(self, how: str, version: int, folder: str) -> None:
        body: dict[str, Any] = {"lora_name": _NAME, "lora_path": folder}
        async with aiohttp.ClientSession(self._engine_url) as engine:

            async def send(verb: str, **more: bool) -> None:
                address = f"/v1/{verb}_lora_adapter"
                async with engine.post(address, json=body | more, raise_for_status=True):
                    pass

            if how == "in_place":
                await send("load", load_inplace=True)
            else:
                self._rejecting = how == "reject"
                if how == "hold":
                    self._open.clear()
                    await self._idle.wait()
                if self._version is not None:
                    await send("unload")
                await send("load")
        old, self._version = self._version, version
        self._policy.add(version, _NAME)
        self._policy.switch(version)
        if old is not None:
            self._policy.remove(old)
        self._rejecting = False
        self._open.set()


def main() -> None:
    """Serve until stopped, with the settings of a server."""
    settings = read(ServerSettings)
    parts = RivalParts(settings)
    app: Any = Swaps(create_app(parts), parts)
    uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
