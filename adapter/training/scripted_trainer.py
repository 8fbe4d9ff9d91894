"""A trainer that learns nothing: exercises the learner's loop without torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from adapter.store.adapter_folders import CONFIG, WEIGHTS, learner_folder
from adapter.store.probe_sheet import ProbeSheet
from adapter.trainer import TrainingGroup, UpdateDiverged
from rewards.estimators.evidence import Signal
from rewards.rollouts import RolloutGroup

PROGRESS = "progress"


class ScriptedTrainer:
    """Its weights are the ids it was trained on. Set `diverge` to fail that many updates."""

    def __init__(self) -> None:
        self.learnt: list[str] = []
        self.batches: list[list[str]] = []
        self.dry_runs: list[str] = []
        self.loaded: list[Path | None] = []
        self.diverge = 0

    def load(self, folder: Path | None) -> None:
        self.loaded.append(folder)
        self.learnt = [] if folder is None else (folder / WEIGHTS).read_text().split()

    def check(self, group: RolloutGroup) -> None:
        pass

    def signals(
        self, group: RolloutGroup, names: frozenset[Signal]
    ) -> Mapping[Signal, Sequence[float]]:
        return {name: [0.5] * len(group.rollouts) for name in names}

    def dry_run(self, batch: Sequence[TrainingGroup]) -> None:
        self.dry_runs += [tg.group.id for tg in batch]

    def update(self, batch: Sequence[TrainingGroup]) -> Mapping[str, float]:
        if self.diverge:
            self.diverge -= 1
            raise UpdateDiverged("loss nan")
        self.batches.append([tg.group.id for tg in batch])
        self.learnt = [*self.learnt, *self.batches[-1]]
        return {"kl": 0.01, "loss": 0.0}

    def undo(self) -> None:
        last = self.batches[-1]
        self.learnt = self.learnt[: len(self.learnt) - len(last)]

    def save(self, folder: Path) -> None:
        (folder / WEIGHTS).write_text(" ".join(self.learnt))
        (folder / CONFIG).write_text("{}")
        private = learner_folder(folder)
        private.mkdir(exist_ok=True)
        (private / PROGRESS).write_text(f"{len(self.learnt)}")
        ProbeSheet([[1, 2, 3]], [[-1.0, -2.0]], [[-1.5, -2.5]]).write(folder)
