"""What is live cannot be read: the learner waits for it, and loses nothing meanwhile."""

import asyncio

import pytest

from tests.unit.adapter.learner.test_worker import Bench, group


async def complaint(caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(5):
        while "cannot go on from what is live" not in caplog.text:
            await asyncio.sleep(0.01)


@pytest.fixture
async def bench(tmp_path) -> Bench:
    """Version 1 is live and its folder is gone; groups wait for a new learner."""
    made = Bench(tmp_path / "adapters")
    await made.feed(group("a"), group("b"))
    async with made.running():
        release = await made.candidate()
        await made.totals(trained=2)
        await made.releases.promote(1, 0, "")
    (made.folders.root / release.folder).rename(tmp_path / "away")
    made.worker = made.new_worker()
    await made.feed(group("c", 1), group("d", 1))
    return made


async def test_it_goes_on_when_the_folder_is_back(bench: Bench, tmp_path, caplog) -> None:
    folder = (await bench.releases.get(1)).folder
    async with bench.running():
        await complaint(caplog)
        (tmp_path / "away").rename(bench.folders.root / folder)
        second = await bench.candidate()
    assert (second.parent, bench.trainer.learnt) == (1, ["a", "b", "c", "d"])


async def test_it_goes_on_from_another_version_after_a_rollback(bench: Bench, caplog) -> None:
    async with bench.running():
        await complaint(caplog)
        await bench.releases.promote(0, 1, "rollback")
        await bench.feed(group("e"), group("f"))
        second = await bench.candidate()
        await bench.totals(dropped__stale=2)  # of the branch that was left
    assert (second.parent, bench.trainer.learnt) == (0, ["e", "f"])
