"""The fleet: four engines, three servers, a learner of two ranks, Redis, a balancer, clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from adapter.settings import ChannelSettings
from adapter.store.buffer import BufferUnavailable
from adapter.store.channels import open_releases
from adapter.store.releases import AdapterRelease
from evals.arithmetic.rollouts import MODEL
from loadtests.hosts import members
from loadtests.hosts.members import Member
from loadtests.hosts.network import Host, Network
from ratchet.recipe import TINY_RECIPE

ENGINES, REAL_ENGINES, SERVERS, RANKS = 4, 2, 3, 2
_POLL = 0.1
_START_SECONDS = 240.0
_ENGINE_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One question of a `client`: when it was asked (wall clock), seconds until its reply, how
    often the client's library asked again, what failed if it did."""

    client: int
    at: float
    seconds: float
    tries: int
    failed: str


class Fleet:
    """Everything, started on entry; call it from a thread that may move between namespaces."""

    def __init__(self, folder: Path, clients: int) -> None:
        self.folder, self.clients = folder, clients
        self.members: dict[str, Member] = {}
        self.restarts = 0
        """Of the learner's ranks, all together as a controller would start them again."""
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Fleet:
        network = self._closing.enter_context(Network())
        hosts = {name: network.host(name) for name in self._names()}
        hosts["operator"].enter()
        self._closing.callback(self._end)
        settings = self._settings(hosts)
        folder, servers = self.folder, self._hosts(hosts, "server", SERVERS)
        made = [members.redis(hosts["redis"], folder)]
        for number, host in enumerate(self._hosts(hosts, "engine", ENGINES)):
            real = number < REAL_ENGINES
            made.append(members.engine(host, folder, real=real, timeout=_ENGINE_TIMEOUT))
        made += [members.server(host, folder, settings) for host in servers]
        leader = hosts["learner0"]
        made += [
            members.rank(host, folder, settings, RANKS, leader)
            for host in self._hosts(hosts, "learner", RANKS)
        ]
        made.append(members.balancer(hosts["balancer"], folder, servers))
        address = f"http://{hosts['balancer'].address}:{members.BALANCER_PORT}/v1"
        made.append(members.clients(hosts["clients"], folder, address, self.clients))
        self.members = {member.name: member for member in made}
        self._session = await self._closing.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3))
        )
        channels = ChannelSettings(
            redis_url=settings["redis_url"], adapters_dir=settings["adapters_dir"]
        )
        self._releases = open_releases(channels)
        self._closing.push_async_callback(self._releases.close)
        await self._start()
        watch = asyncio.create_task(self._keep_ranks())
        self._closing.push_async_callback(_cancelled, watch)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._closing.aclose()

    @property
    def servers(self) -> list[Member]:
        return [self.members[f"server{number}"] for number in range(SERVERS)]

    def host(self, name: str) -> Host:
        """The host of a member."""
        return self.members[name].host

    async def until(self, what: str, is_so: Callable[[], Coroutine[Any, Any, bool]],
                    seconds: float) -> float:  # fmt: skip
        """Seconds until it is so. Raises TimeoutError that says what was waited for."""
        began = time.monotonic()
        while not await is_so():
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"waited {seconds:g} s until {what}: see {self.folder}")
            await asyncio.sleep(_POLL)
        return time.monotonic() - began

    async def ready(self, server: Member) -> bool:
        """Whether a server says so."""
        url = f"http://{server.host.address}:{members.SERVER_PORT}/readyz"
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._session.get(url) as reply:
                return reply.status == 200
        return False

    async def all_see(self, engine: str, *, up: bool) -> bool:
        """Whether every server that can be asked holds an engine for up, or not."""
        replica = f"{self.host(engine).address}:{members.ENGINE_PORT}"
        seen = [await self.numbers(server) for server in self.servers]
        return all(n.get(f"ratchet_engine_up:{replica}", -1.0) == up for n in seen if n)

    async def live(self) -> list[float]:
        """The version that each server answers with."""
        seen = [await self.numbers(server) for server in self.servers]
        return [numbers.get("ratchet_live_version", -1.0) for numbers in seen]

    async def numbers(self, server: Member) -> dict[str, float]:
        """A server's metrics, those of a label by `name:value`; none if it cannot be asked."""
        url = f"http://{server.host.address}:{members.SERVER_PORT}/metrics"
        try:
            async with self._session.get(url) as reply:
                text = await reply.text()
        except (aiohttp.ClientError, TimeoutError):
            return {}
        return {
            ":".join((sample.name, *sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def total(self, name: str) -> float:
        """A counter over all servers that can be asked."""
        return sum([(await self.numbers(server)).get(name, 0.0) for server in self.servers])

    async def releases(self) -> Sequence[AdapterRelease]:
        """All versions on record; none while Redis cannot be asked."""
        with contextlib.suppress(BufferUnavailable):
            return await self._releases.all()
        return ()

    def answers(self, since: float, until: float) -> list[Answer]:
        """What clients asked in that time, as far as it is over."""
        lines = (self.folder / "asked.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        return [
            Answer(
                row["client"], row["at"], row["seconds"], row.get("tries", 0), row.get("failed", "")
            )
            for row in rows
            if since <= row["at"] < until
        ]

    async def _start(self) -> None:
        for name in ("redis", *(f"engine{n}" for n in range(ENGINES))):
            self.members[name].start()
        for server in self.servers:
            server.start()
        self.members["balancer"].start()

        async def all_up() -> bool:
            seen = [await self.all_see(f"engine{n}", up=True) for n in range(ENGINES)]
            return all(seen) and all([await self.ready(server) for server in self.servers])

        await self.until("all engines and servers are up", all_up, _START_SECONDS)
        (self.folder / "asked.jsonl").touch()
        self.members["clients"].start()
        for number in range(RANKS):
            self.members[f"learner{number}"].start()

        async def learns() -> bool:
            return min(await self.live()) >= 1

        await self.until("a version is live everywhere", learns, _START_SECONDS)

    async def _keep_ranks(self) -> None:
        """Start all ranks again when one has ended."""
        ranks = [self.members[f"learner{number}"] for number in range(RANKS)]
        while True:
            if not all(rank.runs for rank in ranks):
                self.restarts += 1
                await asyncio.gather(*(asyncio.to_thread(rank.end) for rank in ranks))
                for rank in ranks:
                    rank.start()
            await asyncio.sleep(1.0)

    def _end(self) -> None:
        for member in reversed(self.members.values()):
            member.end()

    def _settings(self, hosts: Mapping[str, Host]) -> dict[str, Any]:
        engines = [one.address for one in self._hosts(hosts, "engine", ENGINES)]
        return {
            **TINY_RECIPE,
            "model": MODEL,
            "redis_url": f"redis://{hosts['redis'].address}:{members.REDIS_PORT}/0",
            "adapters_dir": self.folder / "adapters",
            "engine_url": ",".join(f"http://{one}:{members.ENGINE_PORT}" for one in engines),
            "engine_timeout": _ENGINE_TIMEOUT,
            "groups_per_update": 8,
            "train_rollouts": 8,
            "rollouts": 4,
            "gate_guard": "off",
            "peer_seconds": 30.0,
            "log_dir": "",
            "page": "false",
        }

    @staticmethod
    def _names() -> list[str]:
        counted = [("engine", ENGINES), ("server", SERVERS), ("learner", RANKS)]
        names = [f"{name}{number}" for name, count in counted for number in range(count)]
        return ["operator", "redis", "balancer", "clients", *names]

    @staticmethod
    def _hosts(hosts: Mapping[str, Host], name: str, count: int) -> list[Host]:
        return [hosts[f"{name}{number}"] for number in range(count)]


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
