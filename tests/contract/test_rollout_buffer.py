"""One suite over every rollout buffer."""

import asyncio
import time
from dataclasses import replace

import pytest

from adapter.store.buffer import (
    Append,
    BufferLimits,
    BufferUnavailable,
    DeadReason,
    Forgotten,
    Outcome,
)
from adapter.store.clients import pseudonym
from adapter.store.memory_buffer import MemoryBuffer
from adapter.store.redis.buffer import RedisBuffer
from adapter.store.wire import pack
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.key_values import SERVERS

GROUP = RolloutGroup(
    "g0", "p", [1, 2], [Rollout("7", [3, 4], [-0.5, -0.25], "stop")], 0, Sampling(), "c", 1.0
)


def group(number: int, client: str = "c") -> RolloutGroup:
    return replace(GROUP, id=f"g{number}", client=client)


@pytest.fixture(params=["memory", *SERVERS])
def make(request, servers):
    """A maker of buffers with given limits; those on Redis share one database."""
    if request.param == "memory":
        shared: dict[BufferLimits, MemoryBuffer] = {}
        return lambda **given: shared.setdefault(limits(**given), MemoryBuffer(limits(**given)))
    server = servers(request.param)
    return lambda **given: RedisBuffer(server.url, limits(**given))


def limits(size=1 << 20, count=100, retention=60.0, keep=60.0) -> BufferLimits:
    return BufferLimits(
        max_bytes=size, max_groups=count, retention_seconds=retention, keep_trained_seconds=keep
    )


async def test_the_newest_come_first_and_every_group_once(make) -> None:
    buffer = make()
    for number in range(5):
        assert await buffer.append(group(number)) is Append.RECORDED
    first = await buffer.read(3, 0.1)
    assert [d.group.id for d in first] == ["g4", "g3", "g2"]
    await buffer.append(group(5))
    await buffer.settle(first[:1], Outcome.TRAINED)
    rest = await buffer.read(10, 0.1)
    assert [d.group.id for d in rest] == ["g5", "g1", "g0"]
    assert [d.attempts for d in first + rest] == [1] * 6
    assert rest[-1].group == unpacked(GROUP)
    assert await buffer.read(1, 0.05) == []
    await buffer.append(group(6))
    await buffer.append(group(7))
    assert {(await buffer.read(1, 0.1))[0].group.id for _ in range(2)} == {"g6", "g7"}
    assert await buffer.read(1, 0.05) == []
    await buffer.close()


async def test_what_newer_groups_passed_over_is_dropped_and_counted(make) -> None:
    """I1: accepted = settled by outcome + waiting."""
    buffer = make()
    groups = [
        replace(group(number), policy_version=version)
        for number, version in enumerate([1, 1, 2, 1, 3, 3])
    ]
    await buffer.append_all(groups)
    taken = await buffer.read(1, 0.1)
    assert await buffer.drop_unread([2, 3], Outcome.STALE) == 2
    assert await buffer.drop_unread([2, 3], Outcome.STALE) == 0  # g3 is behind a recent one
    state = await buffer.state()
    assert state.totals == {"accepted": 6, "dropped:stale": 2}
    assert (state.waiting, state.size) == (4, sum(len(pack(g)) for g in groups[2:]))
    assert await buffer.drop_unread([3], Outcome.STALE) == 2
    assert await buffer.drop_unread([], Outcome.STALE) == 1  # but not what is being worked on
    assert (await buffer.state()).waiting == 1
    assert await buffer.read(1, 0.05) == []
    await buffer.settle(taken, Outcome.TRAINED)
    assert await buffer.replay(["g5"]) == 1
    assert await buffer.drop_unread([], Outcome.STALE) == 0
    assert [d.group.id for d in await buffer.read(5, 0.1)] == ["g5"]
    await buffer.close()


async def test_dropping_goes_through_long_streams_without_a_reader(make) -> None:
    buffer = make()
    for number in range(70):
        await buffer.append(replace(group(number), policy_version=number // 40))
    assert await buffer.drop_unread([1], Outcome.STALE) == 40
    assert (await buffer.state()).waiting == 30
    await buffer.close()


def unpacked(one: RolloutGroup) -> RolloutGroup:
    from adapter.store.wire import unpack

    return unpack(pack(one))


async def test_the_same_id_is_kept_once_even_after_it_was_settled(make) -> None:
    buffer = make()
    await buffer.append(group(1))
    assert await buffer.append(group(1)) is Append.DUPLICATE
    await buffer.settle(await buffer.read(1, 0.1), Outcome.TRAINED)
    assert await buffer.append(group(1)) is Append.DUPLICATE
    assert (await buffer.state()).totals == {"accepted": 1, "trained": 1}
    await buffer.close()


async def test_work_on_one_group_is_noted_until_it_is_over(make) -> None:
    buffer = make()
    await buffer.append(group(1))
    [delivery] = await buffer.read(1, 0.1)
    assert [await buffer.hold(delivery) for _ in range(3)] == [0, 1, 2]
    await buffer.release(delivery)
    assert await buffer.hold(delivery) == 0
    await buffer.close()


async def test_it_refuses_when_full_by_entries_and_by_bytes(make) -> None:
    by_count = make(count=2)
    assert [await by_count.append(group(n)) for n in range(3)] == [
        Append.RECORDED, Append.RECORDED, Append.FULL,
    ]  # fmt: skip
    await by_count.settle(await by_count.read(1, 0.1), Outcome.TRAINED)
    assert await by_count.append(group(2)) is Append.RECORDED
    await by_count.close()


def bytes_of(*numbers: int) -> int:
    """How many the groups of these numbers take together; not all take the same."""
    return sum(len(pack(group(number))) for number in numbers)


async def test_it_refuses_when_full_by_bytes(make) -> None:
    buffer = make(size=bytes_of(0, 1))
    outcomes = [await buffer.append(group(n)) for n in range(3)]
    assert outcomes == [Append.RECORDED, Append.RECORDED, Append.FULL]
    assert (await buffer.state()).size == bytes_of(0, 1)
    await buffer.close()


async def test_accounting_adds_up(make) -> None:
    """I1: accepted = settled by outcome + waiting, whatever is repeated."""
    buffer = make()
    for number in range(6):
        await buffer.append(group(number))
    taken = await buffer.read(4, 0.1)
    await buffer.settle(taken[:2], Outcome.TRAINED)
    await buffer.settle(taken[:2], Outcome.TRAINED)
    await buffer.settle(taken[2:3], Outcome.STALE)
    await buffer.dead_letter(taken[3], DeadReason.MALFORMED, "poison")
    state = await buffer.state()
    assert state.totals == {"accepted": 6, "trained": 2, "dropped:stale": 1, "dead": 1}
    left = {f"g{number}" for number in range(6)} - {one.group.id for one in taken}
    assert state.waiting == len(left) == 2
    assert state.size == bytes_of(*(int(name[1:]) for name in left))
    await buffer.close()


async def test_a_new_consumer_gets_what_was_left_unsettled_first(make) -> None:
    buffer = make()
    for number in range(4):
        await buffer.append(group(number))
    taken = await buffer.read(3, 0.1)
    await buffer.settle(taken[:1], Outcome.TRAINED)
    await buffer.append(group(4))
    await buffer.rewind()
    again = await buffer.read(2, 0.1)
    assert [(d.group.id, d.attempts) for d in again] == [("g1", 2), ("g2", 2)]
    assert [d.group.id for d in await buffer.read(5, 0.1)] == ["g4", "g0"]
    await buffer.close()


async def test_what_waits_too_long_expires_whether_it_was_read_or_not(make) -> None:
    buffer = make(retention=0.5)
    for number in range(3):
        await buffer.append(group(number))
    assert await buffer.expire() == 0
    [taken, other] = await buffer.read(2, 0.1)
    await buffer.dead_letter(other, DeadReason.MALFORMED, "poison")
    await asyncio.sleep(0.6)  # the time that is to pass
    assert await buffer.expire() == 2
    await buffer.settle([taken], Outcome.TRAINED)  # too late: it is counted once
    await buffer.rewind()
    assert await buffer.read(5, 0.05) == []
    assert await buffer.forget(pseudonym("c")) == Forgotten(0, 0, 0)  # nor is it a dead letter
    state = await buffer.state()
    assert state.totals == {"accepted": 3, "expired": 2, "dead": 1}
    assert (state.waiting, state.size) == (0, 0)
    await buffer.close()


async def test_many_groups_expire_at_once(make) -> None:
    buffer = make(count=300, retention=0.02)
    for number in range(130):
        await buffer.append(group(number))
    await asyncio.sleep(0.05)  # the time that is to pass
    assert await buffer.expire() == 130
    assert (await buffer.state()).waiting == 0
    await buffer.close()


async def test_age_is_by_the_server_s_clock(make) -> None:
    """A client's clock, or a server's that is off, ages nothing."""
    buffer = make(retention=30.0)
    await buffer.append(replace(group(1), created_at=0.0))
    await buffer.append(replace(group(2), created_at=9e9))
    assert await buffer.expire() == 0
    await buffer.close()


async def test_everything_of_a_client_is_forgotten(make) -> None:
    buffer = make()
    for number in range(8):
        await buffer.append(group(number, "alice" if number % 2 else "bob"))
    taken = await buffer.read(4, 0.1)
    await buffer.settle(taken[:2], Outcome.TRAINED)
    await buffer.dead_letter(taken[2], DeadReason.MALFORMED, "poison")
    alice = pseudonym("alice")
    assert await buffer.forget(alice) == Forgotten(waiting=2, dead=1, kept=1)
    assert await buffer.forget(alice) == Forgotten(0, 0, 0)
    await buffer.rewind()
    assert [d.group.client for d in await rest(buffer)] == ["bob", "bob", "bob"]
    state = await buffer.state()
    assert state.totals == {"accepted": 8, "trained": 2, "dead": 1, "forgotten": 2}
    left = sum(len(pack(group(number, "bob"))) for number in (0, 2, 4))
    assert (state.waiting, state.size) == (3, left)
    assert await buffer.forget(pseudonym("bob")) == Forgotten(waiting=3, dead=0, kept=1)
    await buffer.close()


async def rest(buffer) -> list:
    """All that can be read, however many calls it takes."""
    found = []
    while more := await buffer.read(100, 0.05):
        found += more
    return found


async def test_forgetting_goes_through_long_streams(make) -> None:
    buffer = make(count=300)
    for number in range(200):
        await buffer.append(group(number, "alice" if number >= 60 else "bob"))
    assert await buffer.forget(pseudonym("alice")) == Forgotten(140, 0, 0)
    assert (await buffer.state()).waiting == 60
    await buffer.close()


async def test_trained_groups_can_be_replayed_once(make) -> None:
    """I1: accepted = settled by outcome + waiting, before and after."""
    buffer = make()
    for number in range(4):
        await buffer.append(group(number))
    taken = (await buffer.read(4, 0.1))[::-1]
    await buffer.settle(taken[:3], Outcome.TRAINED)
    await buffer.settle(taken[3:], Outcome.STALE)
    assert await buffer.replay(["g0", "g2", "g3", "g9"]) == 2
    assert await buffer.replay(["g0", "g2"]) == 0
    assert (await buffer.state()).totals == {"accepted": 4, "trained": 1, "dropped:stale": 1}
    again = await rest(buffer)
    assert [(d.group, d.replay) for d in again] == [
        (taken[2].group, True), (taken[0].group, True),
    ]  # fmt: skip
    assert not any(d.replay for d in taken)
    await buffer.settle(again, Outcome.TRAINED)
    assert (await buffer.state()).totals["trained"] == 3
    assert await buffer.replay(["g0"]) == 1  # trained again, kept again
    await buffer.close()


async def test_only_the_latest_trained_groups_are_kept(make) -> None:
    buffer = make(size=bytes_of(1, 2))
    for number in range(3):
        await buffer.append(group(number))
        await buffer.settle(await buffer.read(1, 0.1), Outcome.TRAINED)
    await buffer.expire()
    assert await buffer.replay(["g0"]) == 0
    assert await buffer.replay(["g1", "g2"]) == 2
    await buffer.close()


async def test_trained_groups_are_not_kept_for_ever(make) -> None:
    buffer = make(keep=0.02)
    await buffer.append(group(1))
    await buffer.settle(await buffer.read(1, 0.1), Outcome.TRAINED)
    await asyncio.sleep(0.05)  # the time that is to pass
    await buffer.expire()
    assert await buffer.replay(["g1"]) == 0
    await buffer.close()


async def test_nothing_is_kept_after_training_unless_it_is_to(make) -> None:
    buffer = make(keep=0.0)
    await buffer.append(group(1))
    await buffer.settle(await buffer.read(1, 0.1), Outcome.TRAINED)
    assert await buffer.replay(["g1"]) == 0
    assert await buffer.forget(pseudonym("c")) == Forgotten(0, 0, 0)
    await buffer.close()


async def test_who_has_opted_out_is_not_recorded(make) -> None:
    buffer, learner = make(), make()
    assert await buffer.opted_out() == frozenset()
    await learner.opt_out(pseudonym("alice"))
    assert await buffer.append(group(1, "alice")) is Append.OPTED_OUT
    assert await buffer.append(group(2, "bob")) is Append.RECORDED
    assert await buffer.opted_out() == {pseudonym("alice")}
    await learner.opt_in(pseudonym("alice"))
    assert await buffer.append(group(1, "alice")) is Append.RECORDED
    assert (await buffer.state()).totals == {"accepted": 2}
    await buffer.close()
    await learner.close()


async def test_a_reader_is_woken_by_the_first_group(make) -> None:
    buffer, producer = make(), make()
    reading = asyncio.create_task(buffer.read(5, 5.0))
    started = time.monotonic()
    await producer.append(group(1))
    assert [d.group.id for d in await reading] == ["g1"]
    assert time.monotonic() - started < 2.0
    await buffer.close()
    await producer.close()


async def test_unreadable_bytes_are_delivered_as_such(each_server) -> None:
    import redis

    client = redis.Redis(port=each_server.port)
    client.xadd("{ratchet}:groups", {"g": b"RG1garbage"})
    client.close()
    buffer = RedisBuffer(each_server.url)
    [delivery] = await buffer.read(1, 0.1)
    assert delivery.group is None
    await buffer.dead_letter(delivery, DeadReason.UNREADABLE)
    assert (await buffer.state()).waiting == 0
    await buffer.close()


async def test_a_restarted_server_has_everything_and_an_absent_one_is_reported(own_server) -> None:
    buffer = RedisBuffer(own_server.url)
    await buffer.append(group(1))
    await buffer.append(group(2))
    await buffer.read(1, 0.1)
    own_server.kill()
    started = time.monotonic()
    for call in (buffer.append(group(3)), buffer.read(1, 0.1), buffer.state()):
        with pytest.raises(BufferUnavailable):
            await call
    assert time.monotonic() - started < 3.0
    own_server.start()
    await buffer.rewind()
    assert [d.group.id for d in await buffer.read(5, 0.1)] == ["g2"]
    assert [d.group.id for d in await buffer.read(5, 0.1)] == ["g1"]
    await buffer.close()


async def test_a_flushed_server_is_taken_up_again(each_server) -> None:
    buffer = RedisBuffer(each_server.url)
    await buffer.append(group(1))
    assert len(await buffer.read(1, 0.1)) == 1
    each_server.empty()
    await buffer.append(group(2))
    assert [d.group.id for d in await buffer.read(1, 0.1)] == ["g2"]
    await buffer.close()


async def test_a_group_forgotten_in_the_learner_s_hands_leaves_no_dead_letter(make) -> None:
    buffer = make()
    await buffer.append(group(0, "victim"))
    [delivery] = await buffer.read(1, 0.1)
    assert await buffer.forget(pseudonym("victim")) == Forgotten(waiting=1, dead=0, kept=0)
    await buffer.dead_letter(delivery, DeadReason.MALFORMED)
    assert await buffer.forget(pseudonym("victim")) == Forgotten(0, 0, 0)
    state = await buffer.state()
    assert (state.totals["forgotten"], state.totals.get("dead", 0), state.waiting) == (1, 0, 0)
    await buffer.close()


@pytest.mark.parametrize("left", ["waiting", "dead", "kept", "replayed"])
async def test_all_users_of_a_holder_are_forgotten_together(make, left: str) -> None:
    buffer = make()
    names = ["ada", "ada/bob", "ada/", "adabob", "bob"]
    for number, client in enumerate(names):
        await buffer.append(group(number, client))
    deliveries = await buffer.read(9, 0.1)
    for delivery in deliveries:
        if left == "dead":
            await buffer.dead_letter(delivery, DeadReason.MALFORMED)
        elif left != "waiting":
            await buffer.settle([delivery], Outcome.TRAINED)
    if left == "replayed":
        assert await buffer.replay([f"g{number}" for number in range(5)]) == 5
    there = "waiting" if left == "replayed" else left
    found = await buffer.forget(pseudonym("ada"))
    assert found == replace(Forgotten(0, 0, 0), **{there: 3})
    assert await buffer.forget(pseudonym("ada/bob")) == Forgotten(0, 0, 0)
    await buffer.opt_out(pseudonym("ada"))
    said = [await buffer.append(group(10 + at, client)) for at, client in enumerate(names)]
    assert said == [Append.OPTED_OUT] * 3 + [Append.RECORDED] * 2
    await buffer.close()


async def test_servers_say_what_they_have_removed(make) -> None:
    buffer = make()
    assert await buffer.confirmations("x") == {}
    await buffer.attend("one")
    await buffer.attend("two")
    await buffer.confirm("two", "x", {"queries": 2})
    assert await buffer.confirmations("x") == {"one": None, "two": {"queries": 2}}
    assert await buffer.confirmations("y") == {"one": None, "two": None}
    await buffer.close()
