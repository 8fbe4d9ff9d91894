"""Engines behind a name that is looked up again and again."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapter.store.adapter_folders import WEIGHTS, AdapterFolders
from adapter.store.memory_releases import MemoryReleases
from adapter.store.probe_sheet import ProbeSheet
from adapter.store.releases import AdapterRelease, promote_by_hand
from server.engine.base import EngineError, EngineRequest, EngineUnavailable, draw_all
from server.engine.discovery import Change, Discovery, addresses_of, of_one_family
from server.engine.replica_set import ReplicaSet, engine_maker, engines_at
from server.engine.scripted import ScriptedEngine
from server.engine.vllm import VllmEngine
from server.metrics import ServerMetrics
from server.parts import Parts
from server.settings import ServerSettings
from tests.serving import until

URL = "dns+http://engine:8100"
BASE_SCORES, ADAPTER_SCORES = [-1.5, -2.5], [-1.0, -2.0]


class Zone:
    """A resolver that says what it is told to, and an engine for each address."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Collection[str] | OSError = addresses
        self.asked: list[tuple[str, int]] = []
        self.engines: dict[str, ScriptedEngine] = {}

    async def resolve(self, host: str, port: int) -> Collection[str]:
        self.asked.append((host, port))
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return self.addresses

    def engine(self, url: str) -> ScriptedEngine:
        made = self.engines[url] = ScriptedEngine(lambda _m, _p, n: [url] * n)
        made.scores = lambda model, _: BASE_SCORES if model == "base" else ADAPTER_SCORES
        return made

    def discovery(self, urls: str = URL) -> Discovery:
        return Discovery(urls, self.engine, pause=0.001, resolve=self.resolve)

    async def looked_up_again(self) -> None:
        """Two look-ups later, what the first found has been taken up."""
        before = len(self.asked)
        await until(lambda: len(self.asked) > before + 1)


class Found:
    """A set of replicas in which all are found by name."""

    def __init__(self, zone: Zone) -> None:
        self.zone, self.metrics, self.returned = zone, ServerMetrics(), 0
        self.set = ReplicaSet({}, 0.001, self.metrics, zone.discovery())
        self.set.on_return = self._count

    def _count(self) -> None:
        self.returned += 1

    def up(self) -> list[str]:
        return sorted(replica.name for replica in self.set.replicas if replica.up)

    async def who(self, model: str = "base", prompt: str = "hi") -> str:
        [draw] = await draw_all(self.set, EngineRequest(model, prompt, {"n": 1}))
        return draw.rollout.text


@asynccontextmanager
async def found(zone: Zone) -> AsyncIterator[Found]:
    made = Found(zone)
    task = asyncio.create_task(made.set.run())
    try:
        yield made
    finally:
        task.cancel()


async def first(discovery: Discovery) -> Change | None:
    async for change in discovery.changes():
        return change
    return None


async def test_addresses_become_replicas_by_host_and_port() -> None:
    zone = Zone("10.0.0.2", "fd00::1")
    change = await first(zone.discovery(f"http://a:8100, {URL}/"))
    assert change is not None and list(change.left) == []
    assert list(change.joined) == ["10.0.0.2:8100", "[fd00::1]:8100"]
    assert list(zone.engines) == ["http://10.0.0.2:8100", "http://[fd00::1]:8100"]
    assert zone.asked == [("engine", 8100)]


async def test_fixed_addresses_are_not_looked_up() -> None:
    fixed = "http://a:8100,http://b:8100"
    assert await first(Zone("10.0.0.1").discovery(fixed)) is None
    assert list(engines_at(f"{fixed},{URL}", engine_maker("base", 5.0, ""))) == ["a:8100", "b:8100"]


async def test_several_names_are_one_set() -> None:
    change = await first(Zone("10.0.0.1").discovery(f"{URL},dns+http://more:8200"))
    assert change is not None
    assert list(change.joined) == ["10.0.0.1:8100", "10.0.0.1:8200"]


async def test_the_system_s_resolver_is_asked() -> None:
    assert await addresses_of("localhost", 80) in ({"127.0.0.1"}, {"::1"})
    with pytest.raises(OSError):
        await addresses_of("nowhere.invalid", 80)
    change = await first(
        Discovery("dns+http://localhost:8100", engine_maker("base", 5.0, ""), pause=1.0)
    )
    assert change is not None
    [(name, engine)] = change.joined.items()
    assert name in ("127.0.0.1:8100", "[::1]:8100") and isinstance(engine, VllmEngine)


@pytest.mark.parametrize(
    "url",
    ["dns+http://engine", "dns+https://engine:8100", "dns+http://engine:8100/v1",
     "dns+http://engine:70000", "http://a:1, dns+engine:8100", "dns+http://:8100"],
)  # fmt: skip
def test_what_cannot_be_a_name_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValidationError, match="must look like dns"):
        ServerSettings(engine_url=url)
    assert ServerSettings(engine_url=f" {URL},http://a:1").engine_url


def test_an_engine_with_two_addresses_is_one_replica() -> None:
    assert of_one_family({"10.0.0.1", "fd00::1", "10.0.0.2", "fd00::2"}) == {"10.0.0.1", "10.0.0.2"}
    assert of_one_family({"fd00::1"}) == {"fd00::1"}


async def test_replicas_come_and_go() -> None:
    zone = Zone("10.0.0.1")
    async with found(zone) as one:
        await until(lambda: one.up() == ["10.0.0.1:8100"])
        assert await one.who() == "http://10.0.0.1:8100"
        zone.addresses = ["10.0.0.1", "10.0.0.2"]
        await until(lambda: len(one.up()) == 2)
        assert one.returned == 2  # whoever loads adapters is told of each
        prompts = [f"prompt number {i}" for i in range(20)]
        assert {await one.who(prompt=p) for p in prompts} == set(zone.engines)
        zone.addresses = ["10.0.0.2"]
        await until(lambda: one.up() == ["10.0.0.2:8100"])
        assert {await one.who(prompt=p) for p in prompts} == {"http://10.0.0.2:8100"}
        exposed = one.metrics.expose().decode()
        assert 'ratchet_engine_up{replica="10.0.0.2:8100"} 1.0' in exposed
        assert "10.0.0.1" not in exposed


async def test_one_that_goes_may_finish_what_it_was_asked() -> None:
    zone = Zone("10.0.0.1")
    async with found(zone) as one:
        await until(one.up)
        await one.set.load("v1", "folder")
        [engine] = zone.engines.values()
        held = engine.held_back[0] = asyncio.Event()
        drawing = asyncio.create_task(one.who("v1"))
        await until(lambda: engine.under_way)
        zone.addresses = ["10.0.0.2"]
        await until(lambda: one.up() == ["10.0.0.2:8100"])
        await zone.looked_up_again()
        assert engine.adapters  # still connected: a scripted engine forgets them when closed
        held.set()
        assert await drawing == "http://10.0.0.1:8100"
        await until(lambda: not engine.adapters)


async def test_a_resolver_that_fails_takes_no_engine_away(caplog: pytest.LogCaptureFixture) -> None:
    zone = Zone("10.0.0.1")
    with caplog.at_level(logging.WARNING, "ratchet.engine"):
        async with found(zone) as one:
            await until(one.up)
            for nothing in (OSError("name server is away"), (), TimeoutError()):
                zone.addresses = nothing
                await zone.looked_up_again()
                assert one.up() == ["10.0.0.1:8100"]
    assert caplog.text.count("engine cannot be looked up: name server is away") == 1
    assert caplog.text.count("cannot be looked up: TimeoutError") == 1


async def test_before_any_is_found_requests_fail_as_without_an_engine() -> None:
    zone = Zone()
    async with found(zone) as none:
        await zone.looked_up_again()
        assert not none.set.up
        calls = (
            none.who(), none.set.load("v1", "f"), none.set.models(), none.set.probe(),
            none.set.score("base", [1, 2]), none.set.unload("v1"),
        )  # fmt: skip
        for call in calls:
            with pytest.raises(EngineUnavailable, match="engine_url"):
                await call
        zone.addresses = ["10.0.0.1"]
        await until(lambda: none.set.up)
        assert await none.who()


async def test_a_new_replica_does_not_spoil_a_proof_under_way() -> None:
    """It is asked for scores of an adapter only once it has been given it."""
    zone = Zone("10.0.0.1")
    async with found(zone) as one:
        await until(one.up)
        await one.set.load("v1", "folder")
        zone.addresses = ["10.0.0.1", "10.0.0.2"]
        await until(lambda: len(one.up()) == 2)
        assert await one.set.score("v1", [1, 2, 3]) == ADAPTER_SCORES
        assert await one.who("v1") == "http://10.0.0.1:8100"


async def test_a_connection_that_was_given_up_is_an_engine_error() -> None:
    """Whoever still has hold of a replica that has left must not end the server by it."""
    engine = VllmEngine("http://127.0.0.1:9", "base", 1.0)
    with pytest.raises(EngineError):
        await engine.models()
    await engine.close()
    with pytest.raises(EngineUnavailable, match="disconnected"):
        await engine.models()


class Server:
    """A server without HTTP whose engines are found by name, and whose gate is paused."""

    def __init__(self, folder: Path, zone: Zone) -> None:
        self.releases, self.folders = MemoryReleases(), AdapterFolders(folder)
        settings = ServerSettings(
            redis_url="memory://", adapters_dir=folder, engine_url=URL, probe_seconds=0.001
        )
        self.parts = Parts(settings, releases=self.releases, discovery=zone.discovery())

    async def promote(self) -> AdapterRelease:
        """Publish a version and move the pointer to it, as another server would."""
        await self.releases.pause("judged elsewhere")

        def write(folder: Path) -> None:
            (folder / WEIGHTS).write_text("weights")
            ProbeSheet([[1, 2, 3]], [ADAPTER_SCORES], [BASE_SCORES]).write(folder)

        name, digest = self.folders.commit(1, write)
        token = await self.releases.acquire(5.0)
        assert token is not None
        release = AdapterRelease(await self.releases.reserve(), 0, name, digest, [], {}, 0.0)
        await self.releases.publish(release, token)
        await promote_by_hand(self.releases, release.version)
        return release


async def test_a_replica_that_joins_is_given_what_is_live_before_it_is_asked(
    tmp_path: Path,
) -> None:
    zone = Zone("10.0.0.1")
    server = Server(tmp_path, zone)
    engines, policy = server.parts.engine, server.parts.policy
    watching = asyncio.create_task(engines.run())
    await until(lambda: engines.up)
    release = await server.promote()
    await server.parts.promoter.sync()
    assert policy.live == release.version
    zone.addresses = ["10.0.0.1", "10.0.0.2"]
    await until(lambda: [replica.up for replica in engines.replicas] == [True, True])
    asked = EngineRequest(release.folder, "hi", {"n": 1})

    async def answering() -> str:
        [draw] = await draw_all(engines, asked)
        return draw.rollout.text

    assert {await answering() for _ in range(20)} == {"http://10.0.0.1:8100"}
    await server.parts.promoter.sync()  # as it does each second
    joined = zone.engines["http://10.0.0.2:8100"]
    assert list(joined.adapters) == [release.folder]
    zone.addresses = ["10.0.0.2"]
    await until(lambda: [replica.name for replica in engines.replicas] == ["10.0.0.2:8100"])
    assert await answering() == "http://10.0.0.2:8100"
    watching.cancel()
