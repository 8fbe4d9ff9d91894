"""The seam between the learner's loop and its mathematics."""

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
"""Signals that one forward pass of the trainer yields."""

RECORDED_SIGNALS: frozenset[Signal] = frozenset({"topk_entropies"})
"""Signals that a group may carry from its sampling."""


class Loss(StrEnum):
    """Policy-gradient losses; adapter/training/loss.py describes them."""

    GRPO = "grpo"
    DR_GRPO = "dr_grpo"
    CISPO = "cispo"
    GSPO = "gspo"
    REINFORCE = "reinforce"


class UpdateDiverged(Exception):
    """Loss or gradient is not finite. The weights are unchanged."""


class TrainerLost(Exception):
    """A process that trains together with this one is gone or out of step: restart all."""


@dataclass(frozen=True, slots=True)
class TrainingGroup:
    """A group with one advantage per rollout; None leaves that rollout out."""

    group: RolloutGroup
    advantages: Sequence[float | None]


class Trainer(Protocol):
    """Holds the weights of one adapter. Methods block: call them through TrainerThread."""

    def load(self, folder: Path | None) -> None:
        """Load an adapter's weights; None is the base model."""
        ...

    def check(self, group: RolloutGroup) -> None:
        """Raises ValueError if a group has no tokens or foreign ones, which on a GPU would spoil
        everything after it."""
        ...

    def signals(
        self, group: RolloutGroup, names: frozenset[Signal]
    ) -> Mapping[Signal, Sequence[float]]:
        """The named ones of TRAINER_SIGNALS: means over each rollout's tokens, over the full
        vocabulary, at the group's temperature, under the loaded weights."""
        ...

    def dry_run(self, batch: Sequence[TrainingGroup]) -> None:
        """Do all the work of an update but its step. Weights and optimiser are unchanged."""
        ...

    def update(self, batch: Sequence[TrainingGroup]) -> Mapping[str, float]:
        """One optimiser step; returns its metrics. Raises UpdateDiverged."""
        ...

    def undo(self) -> None:
        """Restore weights and optimiser from before the last update."""
        ...

    def save(self, folder: Path) -> None:
        """Write adapter and probe sheet into an existing folder, and what only a learner needs to
        go on into the one that `learner_folder` names. Raises OSError."""
        ...


class TrainerThread:
    """A trainer and the one thread that does its work: each further one would hold memory."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._thread = trainer, ThreadPoolExecutor(1, "trainer")

    async def do(self, work: Callable[[Trainer], T]) -> T:
        """Call `work` with the trainer, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, self._trainer)
