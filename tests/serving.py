"""The server's application over a scripted engine, for tests of its HTTP surface."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import httpx
import orjson
from starlette.types import ASGIApp

from adapter.store.memory_buffer import MemoryBuffer
from rewards.rollouts import RolloutGroup
from server.charge import Cost
from server.engine.base import Engine
from server.engine.scripted import ScriptedEngine, Spoken
from server.http.app import create_app
from server.parts import Parts
from server.settings import ServerSettings
from server.vote.admission import Ticket

QUESTION = [{"role": "user", "content": "What is 2+2?"}]
PROSE = "Nobody knows that for sure, I am afraid, and nor do I."
TEXTS = [r"\boxed{4}", r"\boxed{5}", r"so \boxed{4}", PROSE]


class Api:
    """A client of one application, and the parts behind it."""

    def __init__(
        self, app: ASGIApp, client: httpx.AsyncClient, parts: Parts, engine: ScriptedEngine
    ) -> None:
        self.app, self.client, self.parts, self.engine = app, client, parts, engine

    async def chat(self, **body: Any) -> httpx.Response:
        body = {"model": "ratchet", "messages": QUESTION, **body}
        return await self.client.post("/v1/chat/completions", json=body)

    async def text(self, **body: Any) -> httpx.Response:
        body = {"model": "ratchet", "prompt": "2+2=", **body}
        return await self.client.post("/v1/completions", json=body)

    async def recorded(self) -> int:
        await self.parts.flush(2.0)
        return (await self.parts.buffer.state()).waiting

    def says(self, *spoken: str | Spoken) -> None:
        """What the engine answers, in turn."""
        self.engine.script = lambda _m, _p, n: [spoken[i % len(spoken)] for i in range(n)]

    async def group(self) -> RolloutGroup:
        """The one group that was recorded."""
        assert await self.recorded() == 1
        [delivery] = await self.parts.buffer.read(1, 0.0)
        assert delivery.group is not None
        return delivery.group

    def hold_back(self, *indices: int) -> None:
        """Rollouts that are given out only when `let_go` is called."""
        for index in indices:
            self.engine.held_back[index] = asyncio.Event()

    def let_go(self, *indices: int) -> None:
        for index in indices:
            self.engine.held_back[index].set()

    def occupied(self, tokens: int) -> AbstractContextManager[Ticket]:
        """Requests of others hold room for so many tokens."""
        return self.parts.admission.admit(Cost(prompt=tokens, each=0, rollouts=1))

    @property
    def at_rest(self) -> bool:
        """Nothing is under way in the engine, nothing is held."""
        return not (self.engine.under_way or self.parts.policy.held or self.parts.admission.load)


@asynccontextmanager
async def serving(
    buffer: MemoryBuffer | None = None, engine: Engine | None = None, **settings: Any
) -> AsyncIterator[Api]:
    scripted = ScriptedEngine(lambda _model, _prompt, n: [TEXTS[i % 4] for i in range(n)])
    defaults = {
        "redis_url": "memory://", "rollouts": 4, "train_rollouts": 0, "gate_holdout": 0,
        "vote_confidence": 1.0,
    }  # fmt: skip
    parts = Parts(
        ServerSettings(**{**defaults, **settings}), engine=engine or scripted, buffer=buffer
    )
    app = create_app(parts)
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with parts.running(), httpx.AsyncClient(transport=transport, base_url="http://t") as http:
        yield Api(app, http, parts, scripted)


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks run until the condition holds; two seconds at most."""
    async with asyncio.timeout(2.0):
        while not condition():
            await asyncio.sleep(0)


def events_of(text: str) -> list[Any]:
    """The events of a stream, `[DONE]` as it is."""
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else orjson.loads(line) for line in lines]
