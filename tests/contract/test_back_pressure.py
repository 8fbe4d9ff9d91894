"""A full buffer refuses and says so; what it has taken stays until it is settled, read or not."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from adapter.store.buffer import Append, DeadReason, Outcome, RolloutBuffer
from adapter.store.clients import pseudonym
from adapter.store.wire import MAX_BYTES
from tests.contract.test_rollout_buffer import group, make

__all__ = ["make"]

Make = Callable[..., RolloutBuffer]


async def everything(buffer: RolloutBuffer) -> list[str]:
    """Ids of all that is delivered, to a consumer that has just begun."""
    await buffer.rewind()
    names: list[str] = []
    while deliveries := await buffer.read(3, 0.05):
        names += [delivery.group.id for delivery in deliveries if delivery.group]
    return names


# Compressed, these groups take 183 bytes each.
@pytest.mark.parametrize("limit", [{"count": 5}, {"size": 5 * 188}])
async def test_nothing_unread_is_ever_trimmed(make: Make, limit: dict[str, int]) -> None:
    buffer = make(**limit)
    outcomes = [await buffer.append(group(number)) for number in range(9)]
    assert outcomes == [Append.RECORDED] * 5 + [Append.FULL] * 4
    taken = await buffer.read(2, 0.1)
    assert await buffer.append(group(5)) is Append.FULL  # what is in the learner's hands counts
    await buffer.settle(taken[:1], Outcome.TRAINED)
    assert await buffer.append(group(6)) is Append.RECORDED
    assert await buffer.append(group(7)) is Append.FULL
    assert await everything(buffer) == ["g3", "g6", "g2", "g1", "g0"]
    assert (await buffer.state()).totals == {"accepted": 6, "trained": 1}
    await buffer.close()


async def test_many_writers_together_keep_to_the_limit(make: Make) -> None:
    buffer = make(count=5)
    outcomes = await asyncio.gather(*(buffer.append(group(number)) for number in range(20)))
    assert sorted(outcomes) == [Append.FULL] * 15 + [Append.RECORDED] * 5
    recorded = {f"g{n}" for n, outcome in enumerate(outcomes) if outcome is Append.RECORDED}
    assert set(await everything(buffer)) == recorded
    await buffer.close()


async def test_who_was_refused_may_come_again(make: Make) -> None:
    """A refusal is no memory: the same group is taken once there is room."""
    buffer = make(count=1)
    await buffer.append(group(1))
    assert await buffer.append(group(2)) is Append.FULL
    assert await buffer.append(group(1)) is Append.DUPLICATE
    await buffer.settle(await buffer.read(1, 0.1), Outcome.TRAINED)
    assert await buffer.append(group(2)) is Append.RECORDED
    assert await everything(buffer) == ["g2"]
    await buffer.close()


async def test_dead_letters_are_kept_up_to_so_many_bytes_the_newest(make: Make) -> None:
    buffer, rng = make(size=1 << 20), random.Random(1)
    for number in range(30):
        text = rng.randbytes(75_000).hex()
        assert await buffer.append(replace(group(number), prompt=text)) is Append.RECORDED
        [delivery] = await buffer.read(1, 0.1)
        await buffer.dead_letter(delivery, DeadReason.MALFORMED, "why " * 1_000_000)
    assert 3 <= (await buffer.forget(pseudonym("c"))).dead <= 14  # some 75 kB each
    await buffer.close()


async def test_a_group_that_is_too_large_is_refused_and_those_beside_it_are_not(make: Make) -> None:
    buffer = make()
    huge = replace(group(1), prompt="x" * (MAX_BYTES + 1))
    outcomes = await buffer.append_all([group(0), huge, group(2)])
    assert outcomes == [Append.RECORDED, Append.TOO_LARGE, Append.RECORDED]
    assert set(await everything(buffer)) == {"g0", "g2"}
    await buffer.close()
