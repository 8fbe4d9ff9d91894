"""The seam between the learner's loop and its mathematics."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

from rewards.estimators.evidence import Need, Signal
from rewards.rollouts import RolloutGroup

log = logging.getLogger("ratchet.learner")

T = TypeVar("T")

TRAINER_SIGNALS: frozenset[Signal] = frozenset({"entropies", "confidences", "self_certainties"})
"""Signals that one forward pass of the trainer yields."""

TRAFFIC_EVIDENCE: frozenset[Need] = TRAINER_SIGNALS | frozenset[Need](
    {"topk_entropies", "closeness", "texts", "looks", "reflection"}
)
"""All evidence that live traffic has: a pass of the trainer, what was recorded with a group, what
its answers have, and what the question's earlier votes were."""


class Loss(StrEnum):
    """Policy-gradient losses; adapter/training/loss.py describes them."""

    GRPO = "grpo"
    DR_GRPO = "dr_grpo"
    CISPO = "cispo"
    GSPO = "gspo"
    REINFORCE = "reinforce"


class UpdateDiverged(Exception):
    """Loss or gradient is not finite. The weights are unchanged."""


class OutOfMemory(Exception):
    """A micro-batch of `tokens` does not fit into memory. The weights are unchanged. `group` is the
    id of the group whose rollout does not fit even alone; None if smaller micro-batches may."""

    def __init__(self, tokens: int, group: str | None = None) -> None:
        super().__init__(f"out of memory with {tokens} tokens at once")
        self.tokens, self.group = tokens, group


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
        vocabulary, at the group's temperature, under the loaded weights. Raises OutOfMemory."""
        ...

    def dry_run(self, batch: Sequence[TrainingGroup]) -> None:
        """Do all the work of an update but its step. Weights and optimiser are unchanged. Raises
        OutOfMemory."""
        ...

    def update(self, batch: Sequence[TrainingGroup]) -> Mapping[str, float]:
        """One optimiser step; returns its metrics. Raises UpdateDiverged, OutOfMemory."""
        ...

    def shrink(self, tokens: int) -> None:
        """From now on work on at most `tokens` at once, or on one rollout."""
        ...

    def save(self, folder: Path) -> None:
        """Write adapter and probe sheet into an existing folder, and what only a learner needs to
        go on into the one that `learner_folder` names. Raises OSError."""
        ...


class TrainerThread:
    """A trainer and the one thread that does its work: each further one would hold memory.
    `exhausted` is called each time that memory runs out."""

    def __init__(self, trainer: Trainer, exhausted: Callable[[], object] | None = None) -> None:
        self._trainer, self._thread = trainer, ThreadPoolExecutor(1, "trainer")
        self._exhausted = exhausted or (lambda: None)

    async def do(self, work: Callable[[Trainer], T]) -> T:
        """Call `work` with the trainer, without blocking the event loop. When memory runs out,
        halve the micro-batches and call it again; raises OutOfMemory if one rollout is too much."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._within_memory, work)

    def _within_memory(self, work: Callable[[Trainer], T]) -> T:
        while True:
            try:
                return work(self._trainer)
            except OutOfMemory as error:
                self._exhausted()
                if error.group is not None:
                    raise
                tokens = error.tokens // 2
            log.warning(
                "out of memory: going on with %d tokens at once; set micro_batch_tokens to that",
                tokens,
            )
            self._trainer.shrink(tokens)
