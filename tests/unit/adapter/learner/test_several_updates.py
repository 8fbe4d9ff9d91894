"""Candidates that several updates make."""

from dataclasses import replace
from pathlib import Path

import pytest

from adapter.store.releases import rollback
from adapter.training.scripted_trainer import ScriptedTrainer
from tests.unit.adapter.learner.test_worker import RECIPE, Bench, group


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, replace(RECIPE, updates_per_candidate=2))


async def leading(bench: Bench) -> int:
    """The token of a lease that lasts."""
    token = await bench.releases.acquire(60.0)
    assert token is not None
    return token


async def test_two_updates_make_a_candidate(bench: Bench) -> None:
    await bench.feed(*map(group, "abcd"))
    async with bench.running():
        release = await bench.candidate()
        assert bench.trainer.batches == [["a", "b"], ["c", "d"]]
        assert list(release.sample_ids) == ["a", "b", "c", "d"]
        assert release.metrics["completions/tokens"] == 4 * 3  # of all their groups
        await bench.totals(accepted=4, trained=4)


async def test_nothing_is_settled_between_them(bench: Bench) -> None:
    await bench.feed(*map(group, "abc"))
    token = await leading(bench)
    assert await bench.worker.learn(token) is None
    assert await bench.releases.all() == []
    assert (await bench.buffer.state()).totals == {"accepted": 3}


async def test_one_that_diverges_is_made_again(bench: Bench) -> None:
    await bench.feed(*map(group, "abcdef"))
    token = await leading(bench)
    await bench.worker.learn(token)
    bench.trainer.diverge = 1
    assert await bench.worker.learn(token) is None
    await bench.releases.resign(token)
    async with bench.running():
        release = await bench.candidate()
        assert sorted(release.sample_ids) == ["a", "b", "e", "f"]
        await bench.totals(accepted=6, trained=4, dropped__diverged=2)


async def test_they_are_rejected_together(bench: Bench) -> None:
    await bench.feed(*map(group, "abcd"))
    async with bench.running():
        await bench.candidate()
        await bench.releases.reject(1, "bad")
        await bench.feed(*map(group, "efgh"))
        second = await bench.candidate()
    assert (second.parent, bench.trainer.learnt) == (0, ["e", "f", "g", "h"])


async def test_those_on_top_of_a_version_that_is_rolled_back_are_dropped(bench: Bench) -> None:
    await bench.feed(*map(group, "abcd"))
    async with bench.running():
        await bench.candidate()
        await bench.releases.promote(1, 0, "")
        await bench.totals(accepted=4, trained=4)
    await bench.feed(group("e", 1), group("f", 1))
    token = await leading(bench)
    await bench.worker.learn(token)
    assert bench.trainer.learnt == ["a", "b", "c", "d", "e", "f"]
    await rollback(bench.releases)
    await bench.feed(*map(group, "ghij"))
    await bench.worker.learn(token)
    assert bench.trainer.learnt == ["g", "h"]
    assert (await bench.buffer.state()).totals["dropped:stale"] == 2


async def test_those_that_were_not_published_are_made_again(bench: Bench) -> None:
    """A learner that ends between two updates of a candidate loses them, not their groups."""
    await bench.feed(*map(group, "ab"))
    token = await leading(bench)
    await bench.worker.learn(token)
    await bench.releases.resign(token)
    bench.trainer = ScriptedTrainer()
    bench.worker = bench.new_worker()
    await bench.feed(*map(group, "cd"))
    async with bench.running():
        release = await bench.candidate()
    assert sorted(release.sample_ids) == ["a", "b", "c", "d"]
