"""A trainer that learns nothing: exercises the learner's loop without torch."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapter.store.adapter_folders import CONFIG, WEIGHTS, learner_folder
from adapter.store.probe_sheet import ProbeSheet
from adapter.trainer import OutOfMemory, TrainingGroup, UpdateDiverged
from rewards.estimators.evidence import Signal
from rewards.rollouts import RolloutGroup

PROGRESS = "progress"


class ScriptedTrainer:
    """Its weights are the ids it was trained on. Set `diverge` to fail that many updates, `memory`
    to the most tokens at once that fit: more than one rollout of it runs out of memory."""

    def __init__(self) -> None:
        self.learnt: list[str] = []
        self.batches: list[list[str]] = []
        self.dry_runs: list[str] = []
        self.loaded: list[Path | None] = []
        self.diverge = 0
        self.memory: float = math.inf
        self.micro_batch_tokens = 8192

    def load(self, folder: Path | None) -> None:
        self.loaded.append(folder)
        self.learnt = [] if folder is None else (folder / WEIGHTS).read_text().split()

    def check(self, group: RolloutGroup) -> None:
        pass

    def signals(
        self, group: RolloutGroup, names: frozenset[Signal]
    ) -> Mapping[Signal, Sequence[float]]:
        self._hold([group])
        return {name: [0.5] * len(group.rollouts) for name in names}

    def dry_run(self, batch: Sequence[TrainingGroup]) -> None:
        self.dry_runs += [tg.group.id for tg in batch]
        self._hold([tg.group for tg in batch])

    def update(self, batch: Sequence[TrainingGroup]) -> Mapping[str, float]:
        if self.diverge:
            self.diverge -= 1
            raise UpdateDiverged("loss nan")
        self._hold([tg.group for tg in batch])
        self.batches.append([tg.group.id for tg in batch])
        self.learnt = [*self.learnt, *self.batches[-1]]
        return {"kl": 0.01, "loss": 0.0}

    def shrink(self, tokens: int) -> None:
        self.micro_batch_tokens = tokens

    def save(self, folder: Path) -> None:
        (folder / WEIGHTS).write_text(" ".join(self.learnt))
        (folder / CONFIG).write_text("{}")
        private = learner_folder(folder)
        private.mkdir(exist_ok=True)
        (private / PROGRESS).write_text(f"{len(self.learnt)}")
        ProbeSheet([[1, 2, 3]], [[-1.0, -2.0]], [[-1.5, -2.5]]).write(folder)

    def _hold(self, groups: Sequence[RolloutGroup]) -> None:
        """Raises OutOfMemory, as a trainer does that packs rollouts up to its token budget."""
        lengths = {g.id: [len(g.prompt_ids) + len(r.token_ids) for r in g.rollouts] for g in groups}
        for name, of_group in lengths.items():
            if max(of_group, default=0) > self.memory:
                raise OutOfMemory(max(of_group), name)
        at_once = min(self.micro_batch_tokens, sum(map(sum, lengths.values())))
        if at_once > self.memory:
            raise OutOfMemory(at_once)
