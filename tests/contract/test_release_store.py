"""One suite over every release store."""

import asyncio
import time
from dataclasses import replace

import pytest

from adapter.store.buffer import BufferUnavailable
from adapter.store.judgement import Step, StepVerdict
from adapter.store.ledger import fault_in
from adapter.store.memory_releases import MemoryReleases
from adapter.store.redis.releases import RedisReleases
from adapter.store.releases import (
    AdapterRelease,
    Fenced,
    ReleaseState,
    UnknownRelease,
    promote_by_hand,
    rollback,
)
from tests.key_values import SERVERS


def release(version: int, parent: int = 0) -> AdapterRelease:
    return AdapterRelease(
        version, parent, f"v{version}-abc", "a" * 64, [f"g{version}"], {"kl": 0.1}, 1.5
    )


@pytest.fixture(params=["memory", *SERVERS])
async def store(request, servers):
    opened = (
        MemoryReleases() if request.param == "memory" else RedisReleases(servers(request.param).url)
    )
    yield opened
    await opened.close()


async def publish(store, *versions: int) -> None:
    token = await store.acquire(5.0)
    parent = await store.live()
    for version in versions:
        await store.publish(release(version, parent), token)
    await store.resign(token)


async def test_a_candidate_goes_live_and_the_old_one_retires(store) -> None:
    await publish(store, 1)
    assert await store.get(1) == release(1)
    assert await store.promote(1, 0, "passed", [StepVerdict(Step.TRIAL, True, numbers={"n": 1.0})])
    await publish(store, 2)
    assert await store.promote(2, 1, "passed")
    assert await store.live() == 2
    assert [(r.version, r.state) for r in await store.all()] == [
        (1, ReleaseState.RETIRED),
        (2, ReleaseState.LIVE),
    ]
    assert (await store.get(1)).numbers["gate/n"] == 1.0
    await store.close()


async def test_the_pointer_moves_by_compare_and_set(store) -> None:
    await publish(store, 1, 2)
    assert await store.promote(1, 0, "")
    assert not await store.promote(2, 0, "")
    assert await store.live() == 1
    assert (await store.get(2)).state is ReleaseState.CANDIDATE
    await store.close()


async def test_of_many_promoters_one_wins(store) -> None:
    await publish(store, 1, 2, 3)
    won = await asyncio.gather(*(store.promote(version, 0, "") for version in (1, 2, 3)))
    assert sorted(won) == [False, False, True]
    await store.close()


async def test_a_rejected_candidate_stays_rejected(store) -> None:
    await publish(store, 1)
    await store.reject(1, "collapse", [StepVerdict(Step.TRIAL, False, numbers={"x": 2.0})])
    await store.reject(1, "again")
    rejected = await store.get(1)
    assert (rejected.state, rejected.reason) == (ReleaseState.REJECTED, "collapse")
    assert rejected.numbers["gate/x"] == 2.0
    await store.close()


async def test_what_is_live_cannot_be_rejected(store) -> None:
    await publish(store, 1)
    await store.promote(1, 0, "")
    await store.reject(1, "late")
    assert (await store.get(1)).state is ReleaseState.LIVE
    await store.close()


async def test_samples_count_as_trained_from_the_moment_of_publication(store) -> None:
    assert await store.trained(["g1", "g2"]) == set()
    await publish(store, 1)
    assert await store.trained(["g1", "g2"]) == {"g1"}
    assert await store.trained([]) == set()
    await store.close()


@pytest.mark.parametrize("days", [8, -8])
async def test_a_clock_that_jumps_makes_nobody_forget(store, monkeypatch, days: int) -> None:
    await publish(store, 1)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + days * 86_400)
    await publish(store, 2)
    assert await store.trained(["g1", "g2"]) == {"g1", "g2"}
    assert fault_in(await store.ledger()) is None


async def test_versions_are_never_given_out_twice(store) -> None:
    drawn = await asyncio.gather(*(store.reserve() for _ in range(20)))
    assert len(set(drawn)) == 20
    assert min(drawn) >= 1
    await store.close()


async def test_one_learner_at_a_time_and_a_stale_one_is_fenced_off(store) -> None:
    first = await store.acquire(0.2)
    assert first is not None
    assert await store.acquire(0.2) is None
    assert await store.renew(first, 0.2)
    second = None
    while second is None:  # the lease ends by itself
        second = await store.acquire(5.0)
    assert second > first
    assert not await store.renew(first, 5.0)
    with pytest.raises(Fenced):
        await store.publish(release(1), first)
    await store.resign(first)  # harmless: it is not ours any more
    await store.publish(release(1), second)
    await store.resign(second)
    assert await store.acquire(1.0) is not None
    await store.close()


async def test_rollback_goes_to_the_parent_or_to_a_named_version(store) -> None:
    for version in (1, 2, 3):
        await publish(store, version)
        await store.promote(version, version - 1, "")
    assert await rollback(store) == (3, 2)
    assert (await store.get(3)).state is ReleaseState.RETIRED
    assert (await store.get(2)).state is ReleaseState.LIVE
    assert await rollback(store, 0) == (2, 0)
    assert await store.live() == 0
    with pytest.raises(UnknownRelease):
        await rollback(store)
    await store.close()


async def test_only_what_was_live_can_come_back(store) -> None:
    await publish(store, 1)
    await store.promote(1, 0, "")
    await publish(store, 2)
    await store.reject(2, "bad")
    for version in (2, 9):
        with pytest.raises(UnknownRelease):
            await rollback(store, version)
    assert await store.live() == 1
    await store.close()


async def test_waiting_ends_with_a_change_or_with_the_time(store) -> None:
    seen = await store.wait("", 0.05)
    started = time.monotonic()
    assert await store.wait(seen, 0.05) == seen
    waiting = asyncio.create_task(store.wait(seen, 5.0))
    await publish(store, 1)
    newer = await waiting
    assert newer != seen
    assert time.monotonic() - started < 2.0
    await store.promote(1, 0, "")
    assert await store.wait(newer, 1.0) != newer
    await store.close()


async def test_an_absent_server_is_reported_soon(own_server) -> None:
    store = RedisReleases(own_server.url)
    await publish(store, 1)
    own_server.kill()
    started = time.monotonic()
    for call in (store.live(), store.all(), store.acquire(1.0), store.wait("", 0.1)):
        with pytest.raises(BufferUnavailable):
            await call
    assert time.monotonic() - started < 3.0
    own_server.start()
    assert (await store.get(1)).version == 1
    await store.close()


async def test_every_change_is_in_the_ledger_and_sealed(store) -> None:
    await publish(store, 1, 2)
    await store.promote(1, 0, "passed", [StepVerdict(Step.TRIAL, True, numbers={"n": 1.0})])
    await store.reject(2, "worse")
    await store.promote(0, 1, "rollback from v1")
    entries = await store.ledger()
    assert [(e.seq, e.event, e.version, e.live, e.note) for e in entries] == [
        (1, "published", 1, 0, ""),
        (2, "published", 2, 0, ""),
        (3, "promoted", 1, 1, "passed"),
        (4, "rejected", 2, 1, "worse"),
        (5, "promoted", 0, 0, "rollback from v1"),
    ]
    assert entries[2].record is not None
    assert entries[2].record["steps"] == [
        {"step": "trial", "passed": True, "reason": "", "cause": None, "numbers": {"n": 1.0},
         "seconds": 0.0, "reference": "", "slice": "", "lost": []}
    ]  # fmt: skip
    assert fault_in(entries) is None
    await store.close()


async def test_what_did_not_happen_is_not_in_the_ledger(store) -> None:
    await publish(store, 1)
    assert not await store.promote(1, 7, "")
    await store.promote(1, 0, "")
    await store.reject(1, "too late")
    with pytest.raises(Fenced):
        await store.publish(release(2), 99)
    assert [entry.event for entry in await store.ledger()] == ["published", "promoted"]
    await store.close()


async def test_writers_at_once_make_one_chain(store) -> None:
    await publish(store, *range(1, 9))
    await asyncio.gather(*(store.reject(version, "no") for version in range(1, 9)))
    entries = await store.ledger()
    assert sorted(e.version for e in entries if e.event == "rejected") == list(range(1, 9))
    assert fault_in(entries) is None
    await store.close()


async def test_judging_can_be_paused(store) -> None:
    assert await store.paused() is None
    await store.pause("maintenance")
    assert await store.paused() == "maintenance"
    await store.pause(None)
    assert await store.paused() is None
    assert [(e.event, e.note) for e in await store.ledger()] == [
        ("paused", "maintenance"),
        ("resumed", ""),
    ]
    await store.close()


async def test_by_hand_a_candidate_or_a_retired_version_can_be_served(store) -> None:
    await publish(store, 1, 2, 3)
    assert await promote_by_hand(store, 1) == 0
    assert await promote_by_hand(store, 2) == 1
    assert await promote_by_hand(store, 1) == 2
    assert await store.live() == 1
    await store.reject(3, "worse")
    for version, why in ((3, "rejected"), (1, "live"), (9, "no version")):
        with pytest.raises(UnknownRelease, match=why):
            await promote_by_hand(store, version)
    await store.close()


async def test_a_withdrawn_release_never_comes_back(store) -> None:
    await publish(store, 1, 2)
    await store.promote(1, 0, "", [StepVerdict(Step.TRIAL, True, numbers={"n": 1.0})])
    assert not await store.withdraw(1, "it is live")
    assert await store.withdraw(2, "no longer wanted")
    await store.promote(0, 1, "")
    assert await store.withdraw(1, "no longer wanted")
    assert not await store.withdraw(1, "again")
    for version in (1, 2):
        assert (await store.get(version)).state is ReleaseState.WITHDRAWN
        assert not await store.promote(version, 0, "by a server that was slow")
        await store.reject(version, "by a server that was slow")
        with pytest.raises(UnknownRelease, match="withdrawn"):
            await promote_by_hand(store, version)
    await publish(store, 3)
    await store.promote(3, 0, "")
    with pytest.raises(UnknownRelease):
        await rollback(store, 1)
    assert (await store.get(1)).numbers["gate/n"] == 1.0
    entries = await store.ledger()
    assert [(e.version, e.live, e.note) for e in entries if e.event == "withdrawn"] == [
        (2, 1, "no longer wanted"),
        (1, 0, "no longer wanted"),
    ]
    assert fault_in(entries) is None
    await store.close()


async def test_a_rejected_release_cannot_be_promoted(store) -> None:
    await publish(store, 1)
    await store.reject(1, "collapse")
    assert not await store.promote(1, 0, "by a server that was slow")
    assert await store.live() == 0
    await store.close()


async def test_the_lease_can_be_taken_over(store) -> None:
    learner = await store.acquire(5.0)
    token = await store.take_over(5.0)
    assert token > learner
    assert not await store.renew(learner, 5.0)
    with pytest.raises(Fenced):
        await store.publish(release(1), learner)
    assert await store.acquire(5.0) is None
    assert await store.renew(token, 5.0)
    await store.resign(token)
    assert await store.acquire(5.0) > token
    await store.close()


async def test_samples_can_be_taken_out_of_what_was_trained(store) -> None:
    await publish(store, 1, 2)
    await store.untrain(["g1", "g7"])
    await store.untrain([])
    assert await store.trained(["g1", "g2"]) == {"g2"}
    await store.close()


async def test_a_release_says_whose_groups_are_in_it(store) -> None:
    token = await store.acquire(5.0)
    await store.publish(replace(release(1), clients=["0123456789abcdef"]), token)
    assert (await store.get(1)).clients == ["0123456789abcdef"]
    assert AdapterRelease.from_json(release(2).to_json()).clients == []
    await store.close()


async def test_one_server_judges_until_it_no_longer_does(store) -> None:
    assert await store.judges("a", 60.0)
    assert not await store.judges("b", 60.0)
    assert await store.judges("a", 0.05)
    async with asyncio.timeout(5.0):
        while not await store.judges("b", 60.0):
            await asyncio.sleep(0.01)
    assert not await store.judges("a", 60.0)


async def test_what_is_being_tried_is_noted(store) -> None:
    assert await store.tried(3) is None
    await store.note_trial(3, 0)
    await store.note_trial(4, 1)
    assert (await store.tried(3), await store.tried(4)) == (0, 1)
    await store.note_trial(3, None)
    assert await store.tried(3) is None
