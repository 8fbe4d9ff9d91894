"""The seam between the learner's bookkeeping and its mathematics."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

from rewards.estimators.evidence import Signal
from rewards.rollouts import RolloutGroup

T = TypeVar("T")

TRAINER_SIGNALS: frozenset[Signal] = frozenset({"entropies", "confidences", "self_certainties"})
"""What one forward pass of the trainer yields beside log-probabilities."""

RECORDED_SIGNALS: frozenset[Signal] = frozenset({"topk_entropies"})
"""What a group may carry from its sampling."""


class Loss(StrEnum):
    """Policy-gradient losses, described in adapter/training/loss.py."""

    GRPO = "grpo"
    DR_GRPO = "dr_grpo"
    CISPO = "cispo"
    GSPO = "gspo"
    REINFORCE = "reinforce"


class UpdateDiverged(Exception):
    """Loss or gradient is not finite. The weights were not touched."""


class TrainerLost(Exception):
    """A process that trains together with this one is gone or out of step: start afresh."""


@dataclass(frozen=True, slots=True)
class TrainingGroup:
    """A group with one advantage per rollout; None leaves that rollout out."""

    group: RolloutGroup
    advantages: Sequence[float | None]


class Trainer(Protocol):
    """Holds the weights of one adapter. Methods block: call them by way of a TrainerThread."""

    def load(self, folder: Path | None) -> None:
        """Take up an adapter's weights, or the base model's (no change) for None."""
        ...

    def check(self, group: RolloutGroup) -> None:
        """Raises ValueError if there is nothing of the model's language in a group. On a GPU, what
        is wrong with one would spoil everything after it."""
        ...

    def signals(
        self, group: RolloutGroup, names: frozenset[Signal]
    ) -> Mapping[Signal, Sequence[float]]:
        """The named ones of TRAINER_SIGNALS: means over each rollout's tokens, over the full
        vocabulary and at the group's temperature, under the weights loaded."""
        ...

    def dry_run(self, batch: Sequence[TrainingGroup]) -> None:
        """All the work of an update but its step: whatever it does to the process, weights and
        optimiser stay as they are."""
        ...

    def update(self, batch: Sequence[TrainingGroup]) -> Mapping[str, float]:
        """One optimiser step; returns its metrics. Raises UpdateDiverged."""
        ...

    def undo(self) -> None:
        """Back to weights and optimiser as they were before the last update."""
        ...

    def save(self, folder: Path) -> None:
        """Write adapter and probe sheet into an existing folder. Raises OSError."""
        ...


class TrainerThread:
    """A trainer on the one thread that does all of its work: further ones would hold memory of
    their own."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._thread = trainer, ThreadPoolExecutor(1, "trainer")

    async def do(self, work: Callable[[Trainer], T]) -> T:
        """Call `work` with the trainer, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, self._trainer)
