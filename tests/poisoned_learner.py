"""A learner process that dies of a group named `poison`.

`python -m tests.poisoned_learner URL FOLDER`. It dies in the update, in which innocent groups take
part.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapter.learner.recipe import Recipe
from adapter.learner.scoring import Scoring
from adapter.learner.worker import Worker
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.redis.buffer import RedisBuffer
from adapter.store.redis.releases import RedisReleases
from adapter.trainer import TrainingGroup
from adapter.training.scripted_trainer import ScriptedTrainer
from rewards.advantages import grpo
from rewards.answers.kinds import AnswerKinds
from rewards.estimators.majority import Majority


class Mortal(ScriptedTrainer):
    def dry_run(self, batch: Sequence[TrainingGroup]) -> None:
        self._die_of(batch)
        super().dry_run(batch)

    def update(self, batch: Sequence[TrainingGroup]) -> Mapping[str, float]:
        self._die_of(batch)
        return super().update(batch)

    @staticmethod
    def _die_of(batch: Sequence[TrainingGroup]) -> None:
        if any(tg.group.id == "poison" for tg in batch):
            os._exit(9)


def main() -> None:
    url, folder = sys.argv[1], Path(sys.argv[2])
    recipe = Recipe(
        scoring=Scoring(estimator=Majority(), advantage=grpo, kinds=AnswerKinds()),
        groups_per_update=4, max_lag=100, keep_versions=3,
    )  # fmt: skip
    worker = Worker(
        buffer=RedisBuffer(url), releases=RedisReleases(url), trainer=Mortal(),
        folders=AdapterFolders(folder), recipe=recipe, lease_seconds=0.5,
    )  # fmt: skip
    asyncio.run(worker.run())


if __name__ == "__main__":
    main()
