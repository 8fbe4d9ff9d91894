"""What may come into an update and what may not, over the whole learner."""

from dataclasses import replace

from adapter.learner.quota import InfluenceLimits
from adapter.learner.recipe import Recipe
from adapter.store.buffer import BufferLimits, Outcome
from adapter.store.clients import pseudonym
from adapter.store.memory_buffer import MemoryBuffer
from tests.unit.adapter.learner.test_worker import RECIPE, Bench, group


def limited(**limits: object) -> Recipe:
    return replace(RECIPE, groups_per_update=4, influence=InfluenceLimits(**limits))


async def test_one_client_fills_no_more_of_an_update_than_its_quota(tmp_path) -> None:
    bench = Bench(tmp_path, limited(client_groups=2))
    await bench.feed(group("b1", client="bob"), group("c1", client="carol"))
    await bench.feed(*(group(f"a{n}", client="alice") for n in range(5)))
    async with bench.running():
        release = await bench.candidate()
        await bench.totals(accepted=7, trained=4, dropped__client_quota=3)
    assert list(release.sample_ids) == ["a0", "a1", "b1", "c1"]
    assert release.clients == sorted(pseudonym(name) for name in ("alice", "bob", "carol"))


async def test_shares_of_tokens_are_those_of_the_finished_update(tmp_path) -> None:
    """a1 and a2 have 60 of 90 tokens, then a1 30 of 60; that is half, and allowed."""
    bench = Bench(tmp_path, limited(client_token_share=0.5))
    await bench.feed(
        group("a1", client="alice", tokens=10), group("a2", client="alice", tokens=10),
        group("b1", client="bob", tokens=5), group("c1", client="carol", tokens=5),
    )  # fmt: skip
    async with bench.running():
        await bench.totals(accepted=4, dropped__client_quota=1)
        assert await bench.releases.all() == []
        await bench.feed(group("b2", client="bob", tokens=1))
        release = await bench.candidate()
        await bench.totals(accepted=5, trained=4, dropped__client_quota=1)
    assert list(release.sample_ids) == ["a1", "b1", "c1", "b2"]


async def test_a_single_client_over_its_share_is_reported(tmp_path, caplog) -> None:
    bench = Bench(tmp_path, limited(client_token_share=0.5))
    await bench.feed(*(group(f"a{n}") for n in range(19)))
    async with bench.running():
        await bench.totals(accepted=19, dropped__client_quota=16)
    assert "16 groups left out of this update, the last for client_quota" in caplog.text


async def test_one_question_is_learnt_from_once_in_an_update(tmp_path) -> None:
    bench = Bench(tmp_path, limited(duplicates=1))
    for name, prompt in (
        ("d", "How many are 12+7?"), ("c", "What is 12-7?"), ("b", "What is 12+8?"),
        ("copy", "what is 12 + 7"), ("a", "What is 12+7?"),
    ):  # fmt: skip
        await bench.feed(group(name, prompt=prompt))
    async with bench.running():
        release = await bench.candidate()
        await bench.totals(accepted=5, trained=4, dropped__near_duplicate=1)
        assert list(release.sample_ids) == ["a", "b", "c", "d"]
        await bench.releases.promote(1, 0, "")
        again = [group(f"{n}2", 1, prompt=f"What is 12+{n}?") for n in (7, 8, 9, 10)]
        await bench.feed(*again)  # in the next update it is welcome again
        second = await bench.candidate()
    assert list(second.sample_ids) == ["72", "82", "92", "102"]


async def test_a_replayed_group_is_not_stale(tmp_path) -> None:
    bench = Bench(tmp_path)
    bench.buffer = MemoryBuffer(BufferLimits(keep_trained_seconds=60.0))
    bench.worker = bench.new_worker()
    await bench.feed(group("a", 7), group("b", 7), group("c", 7))
    await bench.buffer.settle(await bench.buffer.read(2, 0.1), Outcome.TRAINED)
    assert await bench.buffer.replay(["a", "b"]) == 2
    async with bench.running():
        release = await bench.candidate()
        await bench.totals(accepted=3, trained=2, dropped__stale=1)
    assert list(release.sample_ids) == ["b", "a"]


async def test_a_learner_that_cannot_follow_takes_the_newest_and_drops_what_gets_stale(
    tmp_path,
) -> None:
    """Twelve groups wait, and an update takes two. With `max_lag` 1, those that base sampled and
    nobody read are stale once two versions have been promoted."""
    bench = Bench(tmp_path)
    await bench.feed(*(group(f"g{n}") for n in range(12)))
    async with bench.running():
        for version, taken in ((1, ["g0", "g1"]), (2, ["g2", "g3"])):
            release = await bench.candidate()
            assert list(release.sample_ids) == taken
            if version == 2:  # sampled meanwhile, and newer than all that waits
                await bench.feed(group("new1", 1), group("new2", 1))
            await bench.releases.promote(version, version - 1, "")
        third = await bench.candidate()
        assert list(third.sample_ids) == ["new1", "new2"]
        await bench.totals(accepted=14, trained=6, dropped__stale=8)
