"""Memory that runs out: smaller micro-batches, counted, and no group is lost for it."""

from pathlib import Path

import pytest

from adapter.learner.metrics import LearnerMetrics
from adapter.learner.recipe import Recipe
from adapter.learner.scoring import Scoring
from adapter.learner.worker import Worker
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.memory_buffer import MemoryBuffer
from adapter.store.memory_releases import MemoryReleases
from adapter.trainer import OutOfMemory, TrainerThread
from adapter.training.scripted_trainer import ScriptedTrainer
from rewards.advantages import grpo
from rewards.answers.kinds import AnswerKinds
from rewards.estimators.dare import Dare
from rewards.estimators.estimate import RewardEstimator
from rewards.estimators.majority import Majority
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.learning import first_release


def group(name: str, length: int = 10) -> RolloutGroup:
    rollouts = [Rollout(rf"\boxed{{{a}}}", [1] * length, [-1.0] * length, "stop") for a in "112"]
    return RolloutGroup(name, name, [1, 2], rollouts, 0, Sampling(), "c", 0.0)


class Bench:
    def __init__(self, folder: Path, memory: float, estimator: RewardEstimator) -> None:
        self.buffer, self.releases, self.trainer = (
            MemoryBuffer(),
            MemoryReleases(),
            ScriptedTrainer(),
        )
        self.trainer.memory, self.metrics = memory, LearnerMetrics()
        scoring = Scoring(estimator=estimator, advantage=grpo, kinds=AnswerKinds())
        self.worker = Worker(
            buffer=self.buffer, releases=self.releases, trainer=self.trainer,
            folders=AdapterFolders(folder), metrics=self.metrics,
            recipe=Recipe(scoring=scoring, groups_per_update=2, max_lag=4, keep_versions=2),
        )  # fmt: skip

    async def first_release(self) -> list[str]:
        return await first_release(self.worker, self.buffer, self.releases)

    def exhausted(self) -> float | None:
        return self.metrics.registry.get_sample_value("ratchet_learner_out_of_memory_total")


@pytest.mark.parametrize("estimator", [Majority(), Dare()], ids=["update", "signals"])
async def test_work_is_halved_until_it_fits_and_counted(
    tmp_path: Path, estimator: RewardEstimator
) -> None:
    """Two groups of three rollouts are 72 tokens, one is 36; 20 fit, a rollout has 12."""
    bench = Bench(tmp_path, memory=20, estimator=estimator)
    for name in "ab":
        await bench.buffer.append(group(name))
    assert sorted(await bench.first_release()) == ["a", "b"]
    # 72, 36 and 18 tokens in an update; 36 and 18 where one group's signals come first.
    assert bench.exhausted() == (2.0 if isinstance(estimator, Majority) else 1.0)
    assert bench.trainer.micro_batch_tokens == 18
    totals = (await bench.buffer.state()).totals
    assert (totals.get("dead"), totals["trained"]) == (None, 2)


@pytest.mark.parametrize("estimator", [Majority(), Dare()], ids=["update", "signals"])
async def test_only_a_rollout_that_does_not_fit_alone_costs_its_group(
    tmp_path: Path, estimator: RewardEstimator
) -> None:
    bench = Bench(tmp_path, memory=20, estimator=estimator)
    for name, length in (("a", 10), ("long", 30), ("b", 10)):
        await bench.buffer.append(group(name, length))
    assert sorted(await bench.first_release()) == ["a", "b"]
    totals = (await bench.buffer.state()).totals
    assert (totals.get("dead"), totals["dropped:too_large"], totals["trained"]) == (None, 1, 2)
    counted = bench.metrics.registry.get_sample_value(
        "ratchet_groups_total", {"outcome": "dropped:too_large"}
    )
    assert counted == 1.0


async def test_the_thread_gives_up_on_one_rollout_alone() -> None:
    trainer, counted = ScriptedTrainer(), []
    trainer.memory = 5
    thread = TrainerThread(trainer, lambda: counted.append(1))
    with pytest.raises(OutOfMemory):
        await thread.do(lambda trainer: trainer.signals(group("a"), frozenset({"entropies"})))
    assert counted == [1]
