"""One suite over every rollout buffer."""

import asyncio
import time
from dataclasses import replace

import pytest

from adapter.buffer import Append, BufferUnavailable
from adapter.memory_buffer import MemoryBuffer
from adapter.redis_buffer import RedisBuffer
from adapter.wire import pack
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.conftest import programs

GROUP = RolloutGroup(
    "g0", "p", [1, 2], [Rollout("7", [3, 4], [-0.5, -0.25], "stop")], 0, Sampling(), "c", 1.0
)


def group(number: int) -> RolloutGroup:
    return replace(GROUP, id=f"g{number}")


@pytest.fixture(params=["memory", *sorted(programs())])
def make(request, servers):
    """A maker of buffers with given limits; those on Redis share one database."""
    if request.param == "memory":
        shared: dict[tuple[int, int], MemoryBuffer] = {}
        return lambda size=1 << 20, count=100: shared.setdefault(
            (size, count), MemoryBuffer(size, count)
        )
    server = servers(request.param)
    return lambda size=1 << 20, count=100: RedisBuffer(server.url, size, count)


async def test_first_in_first_out_and_every_group_once(make) -> None:
    buffer = make()
    for number in range(5):
        assert await buffer.append(group(number)) is Append.RECORDED
    first = await buffer.read(3, 0.1)
    rest = await buffer.read(10, 0.1)
    assert [d.group.id for d in first + rest] == ["g0", "g1", "g2", "g3", "g4"]
    assert [d.attempts for d in first + rest] == [1] * 5
    assert first[0].group == unpacked(GROUP)
    assert await buffer.read(1, 0.05) == []
    await buffer.close()


def unpacked(one: RolloutGroup) -> RolloutGroup:
    from adapter.wire import unpack

    return unpack(pack(one))


async def test_the_same_id_is_kept_once_even_after_it_was_settled(make) -> None:
    buffer = make()
    await buffer.append(group(1))
    assert await buffer.append(group(1)) is Append.DUPLICATE
    await buffer.settle(await buffer.read(1, 0.1), "trained")
    assert await buffer.append(group(1)) is Append.DUPLICATE
    assert (await buffer.state()).totals == {"accepted": 1, "trained": 1}
    await buffer.close()


async def test_it_refuses_when_full_by_entries_and_by_bytes(make) -> None:
    by_count = make(count=2)
    assert [await by_count.append(group(n)) for n in range(3)] == [
        Append.RECORDED, Append.RECORDED, Append.FULL,
    ]  # fmt: skip
    await by_count.settle(await by_count.read(1, 0.1), "trained")
    assert await by_count.append(group(2)) is Append.RECORDED
    await by_count.close()


async def test_it_refuses_when_full_by_bytes(make) -> None:
    buffer = make(size=2 * len(pack(GROUP)))
    outcomes = [await buffer.append(group(n)) for n in range(3)]
    assert outcomes == [Append.RECORDED, Append.RECORDED, Append.FULL]
    assert (await buffer.state()).size == 2 * len(pack(GROUP))
    await buffer.close()


async def test_accounting_adds_up(make) -> None:
    """I1: accepted = settled by outcome + waiting, whatever is repeated."""
    buffer = make()
    for number in range(6):
        await buffer.append(group(number))
    taken = await buffer.read(4, 0.1)
    await buffer.settle(taken[:2], "trained")
    await buffer.settle(taken[:2], "trained")
    await buffer.settle(taken[2:3], "dropped:stale")
    await buffer.bury(taken[3], "poison")
    state = await buffer.state()
    assert state.totals == {"accepted": 6, "trained": 2, "dropped:stale": 1, "dead": 1}
    assert state.waiting == 2
    assert state.size == 2 * len(pack(GROUP))
    await buffer.close()


async def test_a_new_consumer_gets_what_was_left_unsettled_first(make) -> None:
    buffer = make()
    for number in range(4):
        await buffer.append(group(number))
    taken = await buffer.read(3, 0.1)
    await buffer.settle(taken[:1], "trained")
    await buffer.rewind()
    again = await buffer.read(2, 0.1)
    assert [(d.group.id, d.attempts) for d in again] == [("g1", 2), ("g2", 2)]
    assert [d.group.id for d in await buffer.read(5, 0.1)] == ["g3"]
    await buffer.close()


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
    await buffer.bury(delivery, "unreadable")
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
    assert [d.group.id for d in await buffer.read(5, 0.1)] == ["g1"]
    assert [d.group.id for d in await buffer.read(5, 0.1)] == ["g2"]
    await buffer.close()


async def test_a_flushed_server_is_taken_up_again(each_server) -> None:
    buffer = RedisBuffer(each_server.url)
    await buffer.append(group(1))
    assert len(await buffer.read(1, 0.1)) == 1
    each_server.empty()
    await buffer.append(group(2))
    assert [d.group.id for d in await buffer.read(1, 0.1)] == ["g2"]
    await buffer.close()
