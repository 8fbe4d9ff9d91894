"""Completing groups for the learner while nobody waits."""

import asyncio

from tests.serving import serving, until


def priorities(api) -> list[int]:
    return [request.get("priority", 0) for request in api.engine.requests]


async def first_group(api):
    [delivery] = await api.parts.buffer.read(1, 2.0)
    return delivery.group


async def test_groups_are_completed_in_portions_at_a_low_priority() -> None:
    async with serving(rollouts=4, train_rollouts=24) as api:
        reply = (await api.chat(seed=5)).json()["ratchet"]
        assert (reply["rollouts"], reply["recorded"]) == (4, True)
        group = await first_group(api)
        assert len(group.rollouts) == 24
        assert [request["n"] for request in api.engine.requests] == [4, 8, 8, 4]
        assert priorities(api) == [0, 2, 2, 2]
        seeds = [request["seed"] for request in api.engine.requests]
        assert [seed - seeds[0] for seed in seeds] == [0, 4, 12, 20]
        await until(lambda: api.at_rest)


async def test_it_yields_at_once_and_comes_back() -> None:
    async with serving(rollouts=4, train_rollouts=8, capacity_tokens=1000) as api:
        api.hold_back(3)
        asking = asyncio.create_task(api.chat(max_tokens=8))
        await until(lambda: api.engine.under_way)
        api.let_go(3)
        await asking
        api.hold_back(0)  # of the top-up now
        await until(lambda: api.engine.under_way)
        api.engine.held_back[0] = asyncio.Event()
        with api.occupied(600):
            await until(lambda: not api.engine.under_way)
            await asyncio.sleep(0)
            assert not api.engine.under_way
        api.engine.held_back.clear()
        assert len((await first_group(api)).rollouts) == 8


async def test_nothing_is_kept_of_a_version_that_no_longer_answers() -> None:
    async with serving(rollouts=4, train_rollouts=8) as api:
        api.engine.adapters["v1-a"] = "x"
        api.parts.policy.add(1, "v1-a")
        with api.occupied(300_000):
            await api.chat()
            await api.parts.voted.drain()
            assert api.parts.policy.held == 1
            api.parts.policy.switch(1)
            group = await first_group(api)
        assert (len(group.rollouts), group.policy_version) == (4, 0)
        await until(lambda: not api.parts.policy.held)


async def test_shutdown_records_what_there_is() -> None:
    async with serving(rollouts=4, train_rollouts=8) as api:
        with api.occupied(300_000):
            await api.chat()
            assert await api.recorded() == 1
        assert len((await first_group(api)).rollouts) == 4


async def test_too_many_of_them_are_recorded_as_they_are() -> None:
    async with serving(rollouts=4, train_rollouts=8) as api:
        api.parts.top_up.limit = 2
        with api.occupied(300_000):
            for _ in range(5):
                await api.chat()
            await api.parts.voted.drain()
            sizes = [len((await first_group(api)).rollouts) for _ in range(3)]
        assert sizes == [4, 4, 4]
