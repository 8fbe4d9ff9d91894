"""Several engines as one: requests go to the least loaded replica that holds the version asked for.

Prompts that begin alike prefer the same replica, which has the beginning in its prefix cache. A
replica that fails gets no requests until a probe of it succeeds: one token, since vLLM's own health
page may say 200 while nothing is generated.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from server.engine.base import (
    BatchStream,
    Chunk,
    Draw,
    Engine,
    EngineError,
    EngineFailed,
    EngineRefused,
    EngineReplyInvalid,
    EngineRequest,
    EngineUnavailable,
    Names,
    Piece,
    Service,
)
from server.engine.discovery import PREFIX, Change, Discovery
from server.engine.vllm import VllmEngine
from server.metrics import ServerMetrics

log = logging.getLogger("ratchet.engine")

T = TypeVar("T")
_PREFIX_CHARS = 1024
_SLACK = 16
"""Rollouts by which a preferred replica may be busier than the idlest."""
_TOLERANCE = 0.1
"""Largest mean difference (nats per token) between replicas that run the same weights: it is 0 in
fp32, a hundredth in bf16."""
_NONE = "no engine has been found: does the name in engine_url have an address?"


@dataclass(slots=True, eq=False)
class Replica:
    """One engine, whether it is up, and the models it holds."""

    name: str
    engine: Engine
    up: bool = False
    problem: str = ""
    """Why it is not up."""
    holds: set[str] = field(default_factory=set[str])
    in_flight: int = 0
    suspected: asyncio.Event = field(default_factory=asyncio.Event)

    def suspect(self, error: EngineUnavailable) -> None:
        """Have it probed now after a failed request, and take it out unless that alone failed."""
        self.up = self.up and isinstance(error, EngineFailed)
        self.suspected.set()


class ReplicaSet:
    """An Engine over replicas by name, and over those that `discovery` finds. `run` until
    cancelled."""

    def __init__(
        self,
        engines: Mapping[str, Engine],
        probe_seconds: float,
        metrics: ServerMetrics,
        discovery: Discovery | None = None,
    ) -> None:
        self.replicas = [Replica(name, engine) for name, engine in engines.items()]
        self._probe_seconds, self._metrics, self._discovery = probe_seconds, metrics, discovery
        self.on_return: Callable[[], None] = lambda: None
        """Called when a replica may have lost its adapters."""

    @property
    def up(self) -> bool:
        """Whether any replica is up."""
        return any(replica.up for replica in self.replicas)

    async def run(self) -> None:
        """Probe every replica, and follow those that come and go, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            watches = {
                replica.name: tasks.create_task(self._watch(replica)) for replica in self.replicas
            }
            if self._discovery is not None:
                async for change in self._discovery.changes():
                    self._follow(change, tasks, watches)

    def draw(self, request: EngineRequest) -> BatchStream[Draw]:
        return self._open(request, lambda engine: engine.draw(request))

    def write(self, request: EngineRequest) -> BatchStream[Piece]:
        return self._open(request, lambda engine: engine.write(request))

    def stream(self, request: EngineRequest, names: Names) -> BatchStream[Chunk]:
        return self._open(request, lambda engine: engine.stream(request, names))

    async def complete(self, request: EngineRequest) -> dict[str, Any]:
        return await self._whole(request, lambda engine: engine.complete(request))

    async def serve(self, service: Service, request: EngineRequest) -> dict[str, Any]:
        return await self._whole(request, lambda engine: engine.serve(service, request))

    async def score(self, model: str, tokens: Sequence[int]) -> list[float]:
        """Scores of every replica that holds the model; raises EngineReplyInvalid if they run
        different weights."""
        rows = await self._everywhere(lambda engine: engine.score(model, tokens), model)
        for row in rows[1:]:
            apart = sum(abs(a - b) for a, b in zip(rows[0], row, strict=True)) / max(1, len(row))
            if not apart <= _TOLERANCE:
                raise EngineReplyInvalid(f"replicas differ by {apart:.2g} nats per token")
        return rows[0]

    async def models(self) -> list[str]:
        """What every replica holds."""
        listed = await self._everywhere(lambda engine: engine.models())
        return [name for name in listed[0] if all(name in names for names in listed)]

    async def load(self, name: str, path: str) -> None:
        """Load on every replica that is up; raises if one of them cannot."""
        present = self._present()
        await asyncio.gather(*(replica.engine.load(name, path) for replica in present))
        for replica in present:
            replica.holds.add(name)

    async def unload(self, name: str) -> None:
        for replica in self.replicas:
            replica.holds.discard(name)
        await self._everywhere(lambda engine: engine.unload(name))

    async def probe(self) -> None:
        await self._everywhere(lambda engine: engine.probe())

    async def close(self) -> None:
        for replica in self.replicas:
            await replica.engine.close()

    async def _watch(self, replica: Replica) -> None:
        while True:
            replica.suspected.clear()
            try:
                await replica.engine.probe()
                if not replica.up:
                    replica.holds = set(await replica.engine.models())
                    self.on_return()
            except EngineError as error:
                if replica.up or str(error) != replica.problem:
                    log.warning("engine %s: %s", replica.name, error)
                replica.up, replica.problem = False, str(error)
            else:
                replica.up, replica.problem = True, ""
            self._metrics.engine_up.labels(replica.name).set(replica.up)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._probe_seconds):
                    await replica.suspected.wait()
                    await asyncio.sleep(min(0.1, self._probe_seconds))

    def _follow(
        self, change: Change, tasks: asyncio.TaskGroup, watches: dict[str, asyncio.Task[None]]
    ) -> None:
        """Watch new replicas, which are used once they answer a probe, and forget those gone."""
        for name in change.left:
            watches.pop(name).cancel()
            gone = next(replica for replica in self.replicas if replica.name == name)
            self.replicas.remove(gone)
            self._metrics.engine_up.remove(name)
            tasks.create_task(self._retire(gone))
        for name, engine in change.joined.items():
            replica = Replica(name, engine)
            self.replicas.append(replica)
            watches[name] = tasks.create_task(self._watch(replica))

    async def _retire(self, replica: Replica) -> None:
        """Disconnect once what it was asked is answered."""
        try:
            while replica.in_flight:
                await asyncio.sleep(self._probe_seconds)
        finally:
            await replica.engine.close()

    async def _whole(self, request: EngineRequest, call: Callable[[Engine], Awaitable[T]]) -> T:
        """A reply in one piece, of one replica."""

        @asynccontextmanager
        async def opened(engine: Engine) -> AsyncGenerator[T]:
            yield await call(engine)

        async with self._open(request, opened) as reply:
            return reply

    @asynccontextmanager
    async def _open(
        self, request: EngineRequest, call: Callable[[Engine], AbstractAsyncContextManager[T]]
    ) -> AsyncGenerator[T]:
        """Open `call` on one replica, or on the next one if that fails before it is open."""
        left, rollouts = list(self.replicas), int(request.options.get("n", 1))
        if not left:
            raise EngineUnavailable(_NONE)
        while True:
            replica = self._pick(request, left)
            left.remove(replica)
            replica.in_flight += rollouts
            try:
                async with AsyncExitStack() as stack:
                    try:
                        opened = await stack.enter_async_context(call(replica.engine))
                    except EngineUnavailable as error:
                        replica.suspect(error)
                        if not left:
                            raise
                        continue
                    except EngineRefused as error:
                        if error.status != 404:
                            raise
                        # We know the model, so the engine has restarted and lost its adapters.
                        replica.holds.discard(request.model)
                        self.on_return()
                        if not left:
                            raise EngineUnavailable("the engine has lost an adapter") from None
                        continue
                    try:
                        yield opened
                    except EngineUnavailable as error:
                        replica.suspect(error)
                        raise
                    return
            finally:
                replica.in_flight -= rollouts

    def _pick(self, request: EngineRequest, left: Sequence[Replica]) -> Replica:
        """The best of those left: one that is up and holds the model, if there is one."""
        up = [replica for replica in left if replica.up]
        usable = [replica for replica in up if request.model in replica.holds] or up or list(left)
        if len(usable) == 1:
            return usable[0]
        idlest = min(usable, key=lambda replica: replica.in_flight)
        prompt = request.prompt
        text = prompt if isinstance(prompt, str) else orjson.dumps(prompt).decode()
        start = text[:_PREFIX_CHARS].encode()
        # Rendezvous hashing: the others keep their prompts when one replica leaves.
        preferred = max(usable, key=lambda replica: _rank(start, replica.name))
        return preferred if preferred.in_flight <= idlest.in_flight + _SLACK else idlest

    def _present(self, model: str | None = None) -> list[Replica]:
        """Replicas that are up, or else all, to learn why none is; of them those that hold `model`,
        if any does: one that has just come is given its adapters later."""
        if not self.replicas:
            raise EngineUnavailable(_NONE)
        present = [replica for replica in self.replicas if replica.up] or self.replicas
        return [replica for replica in present if model in replica.holds] or present

    async def _everywhere(
        self, call: Callable[[Engine], Awaitable[T]], model: str | None = None
    ) -> list[T]:
        """Call every replica that is present."""
        return await asyncio.gather(*(call(replica.engine) for replica in self._present(model)))


def engines_at(urls: str, make: Callable[[str], Engine]) -> dict[str, Engine]:
    """Engines by host and port; `urls` are separated by commas."""
    bare = [url.strip().rstrip("/") for url in urls.split(",")]
    fixed = [url for url in bare if not url.startswith(PREFIX)]
    return {url.partition("://")[2]: make(url) for url in fixed}


def engine_maker(base_model: str, timeout: float, key: str) -> Callable[[str], Engine]:
    """Makes the engine of a vLLM server's URL."""
    return lambda url: VllmEngine(url, base_model, timeout, key)


def _rank(start: bytes, name: str) -> bytes:
    return hashlib.blake2b(start, digest_size=8, key=name.encode()[:64]).digest()
