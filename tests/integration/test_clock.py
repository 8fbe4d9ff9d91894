"""Clocks are set forward and back by days while a learner works: its own, or that of Redis."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from adapter.store.adapter_folders import WEIGHTS, AdapterFolders
from adapter.store.audit import faults
from adapter.store.redis import connection as keys
from adapter.store.redis.buffer import RedisBuffer
from adapter.store.redis.releases import RedisReleases
from adapter.store.releases import AdapterRelease, ReleaseState
from tests.integration.test_poison import group
from tests.jumping_clock import DAY, JumpingClock
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.needs("cc")]


class World:
    """A Redis, and a learner that makes an update of each four groups."""

    def __init__(self, server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.client = redis.Redis(port=server.port)
        self.buffer, self.releases = RedisBuffer(server.url), RedisReleases(server.url)
        self.folders = AdapterFolders(folder)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        command = [sys.executable, "-m", "tests.poisoned_learner", self.server.url]
        self.process = subprocess.Popen(
            [*command, str(self.folder)],
            env={**os.environ, **environment}, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def kill(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None
        self.process.kill()
        self.process.wait()

    async def feed(self, names: str) -> None:
        for name in names:
            await self.buffer.append(group(name))

    async def promoted(self) -> AdapterRelease:
        """The next candidate, which is promoted."""
        seen, deadline = "", time.monotonic() + 20
        while time.monotonic() < deadline:
            for release in await self.releases.all():
                if release.state is ReleaseState.CANDIDATE:
                    await self.releases.promote(release.version, release.parent, "")
                    return release
            seen = await self.releases.wait(seen, 0.2)
        raise AssertionError("no candidate")

    async def everything_holds(self, names: str) -> None:
        """Each group has been learnt from once, and all that is on record agrees."""
        live = await self.releases.get(await self.releases.live())
        weights = (self.folders.verified(live) / WEIGHTS).read_text().split()
        assert sorted(weights) == sorted(names)
        assert [fault async for fault in faults(self.releases, self.folders)] == []


@pytest.fixture
def clock(tmp_path: Path) -> JumpingClock:
    return JumpingClock(tmp_path)


@pytest.fixture
async def world(own_server, tmp_path: Path) -> AsyncIterator[World]:
    made = World(own_server, tmp_path / "adapters")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()
    made.client.close()
    await made.buffer.close()
    await made.releases.close()


@pytest.mark.parametrize("days", [8, -8])
async def test_the_learner_s_clock_is_set(world: World, clock: JumpingClock, days: int) -> None:
    """What was trained is known however far apart the clocks are that it was trained by."""
    world.start(**clock.environment)
    await world.feed("abcd")
    first = await world.promoted()
    clock.jump(days * DAY)
    await world.feed("efgh")
    second = await world.promoted()
    assert second.created_at - first.created_at == pytest.approx(days * DAY, abs=60)
    clock.jump(0)
    for name in "abcd":  # they come once more, as when nobody remembers them but the learner
        world.client.delete(keys.GROUPS_SEEN + name)
    await world.feed("abcd")
    while (await world.buffer.state()).waiting:
        await asyncio.sleep(0.02)
    await world.feed("ijkl")
    assert sorted((await world.promoted()).sample_ids) == list("ijkl")
    world.kill()
    await world.everything_holds("abcdefghijkl")
    state = await world.buffer.state()
    assert (state.waiting, state.totals) == (0, {"accepted": 16, "trained": 16})


@pytest.mark.parametrize("days", [8, -8])
async def test_redis_clock_is_set(
    world: World, clock: JumpingClock, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """The lease ends at once or is renewed; the learner goes on with what it has."""
    world.server.kill()
    with monkeypatch.context() as scope:
        for name, value in clock.environment.items():
            scope.setenv(name, value)
        world.server.start()
    world.start()
    await world.feed("abcd")
    await world.promoted()
    await world.feed("ef")  # half a batch is in its hands
    clock.jump(days * DAY)
    # Valkey 9.1 tells the time it read last for a moment longer.
    wait_until(lambda: abs(world.client.time()[0] - time.time() - days * DAY) < 60)
    await world.feed("gh")
    await world.promoted()
    clock.jump(0)
    await world.feed("ijkl")
    await world.promoted()
    world.kill()
    await world.everything_holds("abcdefghijkl")


async def test_a_lease_does_not_outlive_its_learner_by_what_redis_clock_was_set_back(
    world: World, clock: JumpingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.server.kill()
    with monkeypatch.context() as scope:
        for name, value in clock.environment.items():
            scope.setenv(name, value)
        world.server.start()
    await world.feed("abcd")
    world.start()
    await world.promoted()
    world.kill()
    clock.jump(-8 * DAY)
    assert await world.releases.acquire(0.2) is None  # the dead one's
    await world.feed("efgh")
    world.start()
    await world.promoted()
    world.kill()
    await world.everything_holds("abcdefgh")
