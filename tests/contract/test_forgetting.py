"""Forgetting a client over every buffer and store, interrupted wherever it can be."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapter.store.adapter_folders import WEIGHTS, AdapterFolders
from adapter.store.audit import faults
from adapter.store.buffer import Append, BufferLimits, DeadReason, Forgotten, Outcome
from adapter.store.clients import pseudonym, pseudonyms
from adapter.store.forgetting import REASON, forget
from adapter.store.memory_buffer import MemoryBuffer
from adapter.store.memory_releases import MemoryReleases
from adapter.store.redis.buffer import RedisBuffer
from adapter.store.redis.releases import RedisReleases
from adapter.store.releases import AdapterRelease, Fenced, rollback
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.key_values import SERVERS
from tests.unit.adapter.learner.test_worker import Bench, group

KEEPING = BufferLimits(keep_trained_seconds=60.0)

NAMES = {"a": "alice", "b": "bob", "c": "carol"}


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """Somebody's connection: after `calls` calls the process is gone, before or after the last."""

    def __init__(self, inner: Any, life: "Life") -> None:
        self._inner, self._life = inner, life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def call(*arguments: Any) -> Any:
            self._life.calls -= 1
            if self._life.calls < 0 or (self._life.calls == 0 and not self._life.served):
                raise Killed
            done = await method(*arguments)
            if self._life.calls == 0:
                raise Killed
            return done

        return call


class Life:
    def __init__(self, calls: int, served: bool) -> None:
        self.calls, self.served = calls, served


class World:
    """Groups are named by their client's first letter; versions say which groups they have."""

    def __init__(self, buffer: Any, releases: Any, root: Path) -> None:
        self.buffer, self.releases, self.folders = buffer, releases, AdapterFolders(root)

    async def ask(self, *names: str) -> None:
        rollout = Rollout("7", [1], [-0.5], "stop")
        for name in names:
            group = RolloutGroup(name, "p", [1], [rollout], 0, Sampling(), NAMES[name[0]], 0.0)
            assert await self.buffer.append(group) is Append.RECORDED

    async def publish(self, *names: str) -> int:
        """A candidate on top of what is live, and its groups settled."""
        await self.ask(*names)
        deliveries = [d for d in await self.buffer.read(100, 0.1) if d.group.id in names]
        return await self.commit(names, deliveries)

    async def commit(self, names: Sequence[str], deliveries: Sequence[Any]) -> int:
        version, parent = await self.releases.reserve(), await self.releases.live()
        folder, digest = self.folders.commit(
            version, lambda folder: (folder / WEIGHTS).write_text(f"{version}") and None
        )
        token = await self.releases.acquire(5.0)
        clients = sorted({one for name in names for one in pseudonyms(NAMES[name[0]])})
        release = AdapterRelease(version, parent, folder, digest, list(names), {}, 0.0)
        await self.releases.publish(replace(release, clients=clients), token)
        await self.buffer.settle(deliveries, Outcome.TRAINED)
        await self.releases.resign(token)
        return version

    async def learn(self, *names: str) -> int:
        live = await self.releases.live()
        version = await self.publish(*names)
        assert await self.releases.promote(version, live, "passed")
        return version

    async def waiting(self) -> list[tuple[str, bool]]:
        await self.buffer.rewind()
        found = []
        while more := await self.buffer.read(100, 0.02):
            found += more
        return [(delivery.group.id, delivery.replay) for delivery in found]

    async def states(self) -> dict[int, str]:
        return {release.version: release.state.value for release in await self.releases.all()}

    async def sound(self) -> None:
        """I1, I2, I3, and nothing of alice."""
        state = await self.buffer.state()
        assert state.totals["accepted"] == state.waiting + sum(
            count for outcome, count in state.totals.items() if outcome != "accepted"
        )
        assert [fault async for fault in faults(self.releases, self.folders)] == []
        live = {r.version: r for r in await self.releases.all()}
        version, learnt = await self.releases.live(), []
        while version:
            learnt += live[version].sample_ids
            version = live[version].parent
        again = [name for name, _ in await self.waiting()]
        assert len({*learnt, *again}) == len(learnt) + len(again)
        assert not [name for name in learnt + again if name.startswith("a")]
        assert await self.releases.trained(again) == set()
        assert await self.releases.paused() is None
        assert await self.buffer.forget(pseudonym("alice")) == Forgotten(0, 0, 0)


async def history(world: World) -> None:
    """v1 without alice, v2 with her, v3 on top of it and live, v4 in flight; some of hers wait."""
    await world.learn("b1", "b2")
    await world.learn("a1", "b3")
    await world.learn("b4", "b5")
    await world.publish("b6", "c1")
    await world.ask("a2", "b7", "a3")
    [_, _, poison] = await world.buffer.read(100, 0.1)
    await world.buffer.dead_letter(poison, DeadReason.MALFORMED, "poison")


@pytest.fixture(params=["memory", *SERVERS])
def worlds(request, servers, tmp_path):
    """A maker of empty worlds."""
    made: list[World] = []

    def make() -> World:
        root = tmp_path / str(len(made))
        if request.param == "memory":
            made.append(World(MemoryBuffer(KEEPING), MemoryReleases(), root))
        else:
            url = servers(request.param).url
            made.append(World(RedisBuffer(url, KEEPING), RedisReleases(url), root))
        return made[-1]

    return make


@pytest.fixture
async def world(worlds):
    one = worlds()
    yield one
    await one.buffer.close()
    await one.releases.close()


async def forget_alice(world: World):
    return await forget("alice", world.buffer, world.releases, world.folders)


async def test_the_lineage_goes_back_to_where_it_never_saw_the_client(world: World) -> None:
    await history(world)
    report = await forget_alice(world)
    assert report.removed == Forgotten(waiting=1, dead=1, kept=1)
    assert (report.left, report.live) == (3, 1)
    assert report.withdrawn == [2, 3]
    assert report.replayed == 5
    assert await world.states() == {1: "live", 2: "withdrawn", 3: "withdrawn", 4: "withdrawn"}
    assert sorted(await world.waiting()) == [
        ("b3", True), ("b4", True), ("b5", True), ("b6", True), ("b7", False), ("c1", True),
    ]  # fmt: skip
    assert sorted(path.name[:3] for path in world.folders.root.iterdir()) == ["v1-"]
    assert {(await world.releases.get(version)).reason for version in (2, 3, 4)} == {REASON}
    text = b"".join(entry.to_json() for entry in await world.releases.ledger())
    assert b"alice" not in text
    await world.sound()


async def test_repeating_it_changes_nothing(world: World) -> None:
    await history(world)
    await forget_alice(world)
    replayed = ["b3", "b4"]
    deliveries = [d for d in await world.buffer.read(100, 0.1) if d.group.id in replayed]
    version = await world.commit(replayed, deliveries)  # learnt again
    await world.releases.promote(version, 1, "passed")
    before = await world.states()
    report = await forget_alice(world)
    assert report.removed == Forgotten(0, 0, 0)
    assert (report.left, report.live, report.withdrawn, report.replayed) == (5, 5, [], 0)
    assert await world.states() == before
    await world.sound()


async def test_nothing_more_is_recorded_until_it_is_undone(world: World) -> None:
    await forget_alice(world)
    with pytest.raises(AssertionError):
        await world.ask("a1")
    assert (await world.buffer.state()).totals == {}
    await world.buffer.opt_in(pseudonym("alice"))
    await world.ask("a1")


async def test_who_never_taught_anything_leaves_the_lineage_alone(world: World) -> None:
    await world.learn("b1")
    await world.learn("c1")
    report = await forget_alice(world)
    assert (report.left, report.live, report.withdrawn, report.replayed) == (2, 2, [], 0)
    await world.sound()


async def test_a_branch_that_was_left_cannot_be_gone_back_to(world: World) -> None:
    await world.learn("b1")
    await world.learn("a1", "b2")
    await rollback(world.releases)
    await world.learn("b3")
    report = await forget_alice(world)
    assert (report.left, report.live, report.withdrawn) == (3, 3, [2])
    with pytest.raises(LookupError):
        await rollback(world.releases, 2)
    await world.sound()


async def test_where_no_folder_is_left_it_is_base(world: World) -> None:
    await history(world)
    world.folders.remove([(await world.releases.get(1)).folder])
    report = await forget_alice(world)
    assert (report.left, report.live, report.withdrawn) == (3, 0, [1, 2, 3])
    assert report.replayed == 7
    await world.sound()


async def test_a_learner_at_work_cannot_publish_what_it_has_in_hand(world: World) -> None:
    learner = await world.releases.acquire(60.0)
    await forget_alice(world)
    release = AdapterRelease(1, 0, "v1-x", "", ["a1"], {}, 0.0)
    with pytest.raises(Fenced):
        await world.releases.publish(release, learner)
    assert await world.releases.acquire(1.0) is not None  # and the lease is free again


async def test_all_versions_of_a_holder_s_users_are_withdrawn(world: World) -> None:
    await world.learn("b1")
    NAMES["d"] = "dora/u1"
    try:
        await world.learn("d1", "b2")
        await world.ask("d2")
        report = await forget("dora/*", world.buffer, world.releases, world.folders)
    finally:
        del NAMES["d"]
    assert (report.left, report.live, report.withdrawn) == (2, 1, [2])
    assert report.removed == Forgotten(waiting=1, dead=0, kept=1)
    assert await world.buffer.opted_out() == {pseudonym("dora")}


async def test_it_waits_until_the_servers_have_cleared_their_memory(world: World) -> None:
    await world.buffer.attend("one")
    await world.buffer.attend("gone")

    async def clear() -> None:
        while pseudonym("alice") not in await world.buffer.opted_out():
            await asyncio.sleep(0.001)
        await world.buffer.confirm("one", pseudonym("alice"), {"texts": 3})

    clearing = asyncio.create_task(clear())
    arguments = world.buffer, world.releases, world.folders
    report = await forget("alice", *arguments, patience=0.3)
    await clearing
    assert report.servers == {"one": {"texts": 3}, "gone": None}
    again = await forget("alice", *arguments, patience=60.0)  # nobody has to say it twice
    assert again.servers == {}


async def test_somebody_else_s_pause_stays(world: World) -> None:
    await world.releases.pause("maintenance")
    await forget_alice(world)
    assert await world.releases.paused() == "maintenance"


@pytest.mark.parametrize("served", [False, True])
async def test_killed_at_any_call_and_repeated(worlds, served: bool) -> None:
    calls, done = 0, False
    while not done:
        calls += 1
        world, life = worlds(), Life(calls, served)
        await history(world)
        mortal = Mortal(world.buffer, life), Mortal(world.releases, life)
        try:
            await forget("alice", *mortal, world.folders)
            done = True
        except* Killed:
            pass
        if not done:
            assert await world.releases.live() in (1, 3)
            await forget_alice(world)
        assert await world.states() == {1: "live", 2: "withdrawn", 3: "withdrawn", 4: "withdrawn"}
        assert sorted(name for name, _ in await world.waiting()) == [
            "b3", "b4", "b5", "b6", "b7", "c1",
        ]  # fmt: skip
        await world.sound()
        await world.buffer.close()
        await world.releases.close()
    assert calls > 15


async def test_the_learner_goes_on_from_there(tmp_path) -> None:
    """The real loop: what was in its hands is gone, and what it may learn again it learns."""
    bench = Bench(tmp_path)
    bench.buffer = MemoryBuffer(KEEPING)
    bench.worker = bench.new_worker()
    async with bench.running():
        await bench.feed(group("b1", client="bob"), group("b2", client="bob"))
        await bench.candidate()
        await bench.releases.promote(1, 0, "")
        await bench.feed(group("a1", 1, client="alice"), group("b3", 1, client="bob"))
        await bench.candidate()
        await bench.releases.promote(2, 1, "")
        await bench.feed(group("a2", 2, client="alice"))  # in its hands, waiting for another
        await bench.totals(accepted=5, trained=4)
        report = await forget("alice", bench.buffer, bench.releases, bench.folders)
        assert (report.live, report.replayed) == (1, 1)
        await bench.feed(group("b4", 1, client="bob"))
        third = await bench.candidate()
        await bench.totals(accepted=6, trained=5, forgotten=1)
    assert (third.parent, sorted(third.sample_ids)) == (1, ["b3", "b4"])
    assert sorted(bench.trainer.learnt) == ["b1", "b2", "b3", "b4"]
