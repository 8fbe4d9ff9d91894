"""The learner's bookkeeping, over in-memory channels and a trainer that learns nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from adapter.learner.recipe import Recipe
from adapter.learner.scoring import Scoring
from adapter.learner.training_log import TrainingLog
from adapter.learner.worker import LearnerDiverged, Worker
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.judgement import Step, StepVerdict
from adapter.store.memory_buffer import MemoryBuffer
from adapter.store.memory_releases import MemoryReleases
from adapter.store.releases import AdapterRelease, ReleaseState, rollback
from adapter.training.scripted_trainer import ScriptedTrainer
from rewards.advantages import grpo
from rewards.answers.kinds import AnswerKinds
from rewards.estimators.majority import Majority
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.unit.adapter.learner.test_training_log import written

SCORING = Scoring(estimator=Majority(), advantage=grpo, kinds=AnswerKinds())
RECIPE = Recipe(scoring=SCORING, groups_per_update=2, max_lag=1, keep_versions=2)


def group(
    name: str, version: int = 0, *, answers: str = "112", top_p: float = 1.0, client: str = "c",
    tokens: int = 1, prompt: str = "p",
) -> RolloutGroup:  # fmt: skip
    rollouts = [Rollout(rf"\boxed{{{a}}}", [5] * tokens, [-0.5] * tokens, "stop") for a in answers]
    return RolloutGroup(name, prompt, [1], rollouts, version, Sampling(top_p=top_p), client, 0.0)


class Killed(Exception):
    """The process ends here."""


class Watched(MemoryReleases):
    """Tells when somebody waits for a change."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = asyncio.Event()

    async def wait(self, seen: str, seconds: float) -> str:
        self.awaited.set()
        return await super().wait(seen, seconds)


class Bench:
    """A worker with everything around it; `judge` stands in for the server."""

    def __init__(self, tmp_path, recipe: Recipe = RECIPE) -> None:
        self.buffer, self.releases = MemoryBuffer(), MemoryReleases()
        self.trainer, self.folders = ScriptedTrainer(), AdapterFolders(tmp_path)
        self.recipe = recipe
        self.log = TrainingLog()
        self.worker = self.new_worker()

    def new_worker(self) -> Worker:
        return Worker(
            buffer=self.buffer, releases=self.releases, trainer=self.trainer,
            folders=self.folders, recipe=self.recipe, training_log=self.log,
        )  # fmt: skip

    async def feed(self, *groups: RolloutGroup) -> None:
        """Append groups so that they are read in this order: the newest are read first."""
        for one in reversed(groups):
            await self.buffer.append(one)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.worker.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def candidate(self) -> AdapterRelease:
        seen = ""
        while True:
            for release in await self.releases.all():
                if release.state is ReleaseState.CANDIDATE:
                    return release
            seen = await self.releases.wait(seen, 5.0)

    async def totals(self, **expected: int) -> None:
        """Wait for these totals: the learner settles in its own time."""
        wanted = {name.replace("__", ":"): count for name, count in expected.items()}
        async with asyncio.timeout(5):
            while True:
                totals = (await self.buffer.state()).totals
                if all(totals.get(name, 0) == count for name, count in wanted.items()):
                    return
                await asyncio.sleep(0.005)


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


async def test_one_update_from_groups_to_live_release(bench: Bench) -> None:
    await bench.feed(group("a"), group("b"))
    async with bench.running():
        release = await bench.candidate()
        assert (release.version, release.parent, list(release.sample_ids)) == (1, 0, ["a", "b"])
        assert release.metrics["majority_ratio"] == pytest.approx(2 / 3)
        assert bench.folders.verified(release).name == release.folder
        await bench.releases.promote(1, 0, "")
        await bench.feed(group("c", 1), group("d", 1))
        second = await bench.candidate()
        assert (second.version, second.parent) == (2, 1)
        assert bench.trainer.learnt == ["a", "b", "c", "d"]
        await bench.totals(accepted=4, trained=4)


async def test_what_cannot_be_learnt_from_is_dropped_with_its_reason(bench: Bench) -> None:
    await bench.feed(
        group("unanimous", answers="111"),
        group("silent", answers=["", "", ""]),  # type: ignore[arg-type]
        group("nucleus", top_p=0.9),
        group("unknown", version=7),
        group("a"),
        group("b"),
    )
    async with bench.running():
        await bench.candidate()
        await bench.totals(
            accepted=6, trained=2, dropped__unanimous=1, dropped__no_label=1,
            dropped__truncated_sampling=1, dropped__stale=1,
        )  # fmt: skip
    assert bench.trainer.batches == [["a", "b"]]


async def test_old_groups_are_stale_by_promotions_not_by_numbers(bench: Bench) -> None:
    async with bench.running():
        for version, names in ((1, "ab"), (2, "cd")):
            await bench.feed(*(group(name, version - 1) for name in names))
            await bench.candidate()
            await bench.releases.promote(version, version - 1, "")
        await bench.feed(group("old", 0), group("e", 1), group("f", 2))
        release = await bench.candidate()
    assert list(release.sample_ids) == ["e", "f"]
    assert release.metrics["lag"] == 0.5


async def test_a_rejected_update_is_undone(bench: Bench) -> None:
    await bench.feed(group("a"), group("b"))
    async with bench.running():
        await bench.candidate()
        await bench.releases.reject(1, "bad")
        await bench.feed(group("c"), group("d"))
        second = await bench.candidate()
    assert (second.version, second.parent) == (2, 0)
    assert bench.trainer.learnt == ["c", "d"]


async def test_after_a_rollback_learning_goes_on_from_the_older_version(bench: Bench) -> None:
    async with bench.running():
        for version, names in ((1, "ab"), (2, "cd")):
            await bench.feed(*(group(name, version - 1) for name in names))
            await bench.candidate()
            await bench.releases.promote(version, version - 1, "")
        await bench.feed(group("e", 2))
        await rollback(bench.releases)
        await bench.feed(group("f", 1), group("g", 1), group("h", 1))
        release = await bench.candidate()
    assert release.parent == 1
    assert not {"c", "d"} & set(bench.trainer.learnt)


async def test_a_crash_between_publication_and_settling_has_no_second_effect(bench: Bench) -> None:
    """I2: the groups come again, are known as trained, and are only settled."""
    await bench.feed(group("a"), group("b"))

    async def lost(*_: object) -> None:
        raise Killed

    settle = bench.buffer.settle
    bench.buffer.settle = lost  # type: ignore[method-assign]
    crashing = asyncio.create_task(bench.worker.run())
    await bench.candidate()
    await asyncio.gather(crashing, return_exceptions=True)
    bench.buffer.settle = settle  # type: ignore[method-assign]
    assert (await bench.buffer.state()).waiting == 2

    await bench.releases.promote(1, 0, "")
    bench.worker = bench.new_worker()
    await bench.feed(group("c", 1), group("d", 1))
    async with bench.running():
        second = await bench.candidate()
        await bench.totals(accepted=4, trained=4)
    assert list(second.sample_ids) == ["c", "d"]
    assert bench.trainer.learnt == ["a", "b", "c", "d"]


async def test_a_crash_before_publication_repeats_the_work(bench: Bench) -> None:
    await bench.feed(group("a"), group("b"))
    first = asyncio.create_task(bench.buffer.read(2, 1.0))
    await first  # a predecessor took them and died
    async with bench.running():
        release = await bench.candidate()
    assert sorted(release.sample_ids) == ["a", "b"]


async def test_what_was_left_behind_is_dry_run_alone(bench: Bench) -> None:
    await bench.feed(group("a"), group("b"))
    await bench.buffer.read(2, 0.1)  # a predecessor took them and died
    await bench.feed(group("c"), group("d"))
    async with bench.running():
        await bench.candidate()
    assert bench.trainer.dry_runs == ["b", "a"]  # the oldest first


async def test_a_group_that_keeps_crashing_the_learner_is_dead_lettered(bench: Bench) -> None:
    await bench.feed(group("poison"), group("innocent"))
    poison, _ = await bench.buffer.read(2, 0.1)
    for _ in range(2):  # twice it was begun on alone, and never ended
        await bench.buffer.hold(poison)
    async with bench.running():
        await bench.totals(accepted=2, dead=1)
        await bench.feed(group("b"))
        release = await bench.candidate()
    assert list(release.sample_ids) == ["innocent", "b"]
    assert bench.buffer.dead == [("poison", "crashed the learner 3 times")]


async def test_malformed_groups_are_dead_lettered(bench: Bench) -> None:
    good = group("a").rollouts[0]
    bad = {
        "nan": replace(group("nan"), rollouts=[replace(good, logprobs=[float("nan")])]),
        "inf": replace(group("inf"), rollouts=[replace(good, logprobs=[float("-inf")])]),
        "negative": replace(group("negative"), rollouts=[replace(good, token_ids=[-5])]),
        "none": replace(group("none"), rollouts=[]),
        "no prompt": replace(group("no prompt"), prompt_ids=[]),
    }
    await bench.feed(*bad.values())
    async with bench.running():
        await bench.totals(accepted=5, dead=5)
    assert bench.buffer.dead == [(name, "malformed") for name in bad]


async def test_a_disk_that_fails_is_waited_for(tmp_path, caplog) -> None:
    root = tmp_path / "adapters"
    root.write_text("a file stands in the way")
    bench = Bench(root)
    await bench.feed(group("a"), group("b"))
    async with bench.running():
        async with asyncio.timeout(10):
            while "cannot write to adapters_dir" not in caplog.text:
                await asyncio.sleep(0.01)
        root.unlink()
        release = await bench.candidate()
    assert bench.folders.verified(release).name == release.folder
    assert bench.trainer.learnt == ["a", "b"]


async def test_a_group_that_breaks_the_estimator_is_dead_lettered_at_once(tmp_path) -> None:
    class Broken:
        needs = frozenset()

        def estimate(self, evidence):
            raise RuntimeError("boom")

    bench = Bench(tmp_path, replace(RECIPE, scoring=replace(SCORING, estimator=Broken())))
    await bench.feed(group("a"))
    async with bench.running():
        await bench.totals(accepted=1, dead=1)


async def test_three_diverged_updates_in_a_row_stop_the_learner(bench: Bench) -> None:
    bench.trainer.diverge = 3
    await bench.feed(*(group(name) for name in "abcdef"))
    with pytest.raises(LearnerDiverged):
        await bench.worker.run()
    assert (await bench.buffer.state()).totals["dropped:diverged"] == 6


async def test_a_second_learner_stands_by_and_takes_over(bench: Bench) -> None:
    await bench.feed(group("a"), group("b"))
    second = bench.new_worker()
    async with bench.running():
        await bench.candidate()
        waiting = asyncio.create_task(second.run())
        await bench.releases.promote(1, 0, "")
    await bench.feed(group("c", 1), group("d", 1))
    release = await bench.candidate()
    assert list(release.sample_ids) == ["c", "d"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_folders_are_bounded(bench: Bench, tmp_path) -> None:
    async with bench.running():
        for version in range(1, 7):
            await bench.feed(group(f"x{version}", version - 1), group(f"y{version}", version - 1))
            await bench.candidate()
            await bench.releases.promote(version, version - 1, "")
        await bench.feed(group("x7", 6), group("y7", 6))
        await bench.candidate()
        kept = {int(entry.name[1:].split("-")[0]) for entry in tmp_path.iterdir()}
    assert kept == {4, 5, 6, 7}


async def grown_old(bench: Bench) -> None:
    """Promote versions of two new queries each until the learner goes back."""
    for version in range(1, 5):
        names = f"x{version}", f"y{version}"
        await bench.feed(*(replace(group(n, version - 1), prompt=n) for n in names))
        await bench.candidate()
        await bench.releases.promote(version, version - 1, "")
    seen = ""
    while await bench.releases.live() == 4:
        seen = await bench.releases.wait(seen, 5.0)


async def test_an_old_lineage_goes_back_to_a_younger_version(tmp_path) -> None:
    bench = Bench(tmp_path, replace(RECIPE, max_age=8, keep_versions=1))
    async with bench.running():
        await grown_old(bench)
        assert await bench.releases.live() == 2  # has learnt from 4 of 8
        assert (await bench.releases.ledger())[-1].note == (
            "v4 has learnt from 8 distinct queries, budget 8"
        )
        await bench.feed(group("a", 2), group("b", 2))
        release = await bench.candidate()
    assert (release.parent, release.metrics["lineage/queries"]) == (2, 5)  # "p" is new to it
    assert bench.trainer.learnt == ["x1", "y1", "x2", "y2", "a", "b"]


async def test_or_to_base(tmp_path) -> None:
    bench = Bench(tmp_path, replace(RECIPE, max_age=8, reanchor="base"))
    async with bench.running():
        await grown_old(bench)
        assert await bench.releases.live() == 0
        await bench.feed(group("a"), group("b"))
        release = await bench.candidate()
    assert (release.parent, bench.trainer.learnt) == (0, ["a", "b"])


async def test_every_update_and_its_verdict_are_logged(bench: Bench, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("log")
    bench.log = TrainingLog(folder)
    bench.worker = bench.new_worker()
    await bench.feed(group("flat", answers="111"), group("a"), group("b"))
    async with bench.running():
        await bench.candidate()
        await bench.releases.promote(
            1, 0, "", [StepVerdict(Step.TRIAL, True, numbers={"live/margin": 0.5})]
        )
        await bench.feed(group("c", 1), group("d", 1))
        await bench.candidate()
        await bench.releases.reject(2, "bad")
        await bench.feed(group("e", 1), group("f", 1))
        third = await bench.candidate()
    bench.log.close()
    assert third.metrics["num_tokens"] == 24.0  # those of v1 and its own: v2 is no ancestor
    found = written(folder)
    found = {name: [point for point in found[name] if point[0] < 3] for name in found}
    assert found["num_tokens"] == [(1, 12.0), (2, 24.0)]
    assert found["frac_reward_zero_std"] == [(1, pytest.approx(1 / 3)), (2, 0.0)]
    assert found["rewards/estimate/mean"] == [(v, pytest.approx(2 / 3)) for v in (1, 2)]
    assert found["promoted"] == [(1, 1.0), (2, 0.0)]
    assert found["gate/live/margin"] == [(1, 0.5)]
    assert {name for name, points in found.items() if len(points) == 2} >= {"loss", "kl", "lag"}
    assert all(seconds > 0 for _, seconds in found["step_time"])


async def test_a_verdict_on_a_predecessor_s_candidate_is_logged(
    bench: Bench, tmp_path_factory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    bench.releases = Watched()
    bench.worker = bench.new_worker()
    await bench.feed(group("a"), group("b"))
    async with bench.running():
        await bench.candidate()
    bench.releases.awaited.clear()
    bench.log = TrainingLog(folder)
    bench.worker = bench.new_worker()
    async with bench.running():
        await bench.releases.awaited.wait()
        await bench.releases.promote(1, 0, "")
        await bench.feed(group("c", 1), group("d", 1))
        await bench.candidate()
    bench.log.close()
    assert written(folder)["promoted"] == [(1, 1.0)]


async def test_a_withdrawn_update_is_undone(bench: Bench) -> None:
    await bench.feed(group("a"), group("b"))
    async with bench.running():
        await bench.candidate()
        await bench.releases.withdraw(1, "a client was forgotten")
        await bench.feed(group("c"), group("d"))
        second = await bench.candidate()
    assert (second.version, second.parent) == (2, 0)
    assert bench.trainer.learnt == ["c", "d"]
