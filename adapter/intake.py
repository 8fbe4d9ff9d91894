"""Fills batches with groups worth learning from; settles all others with a counted reason."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from adapter.buffer import TRAINED, Delivery, RolloutBuffer
from adapter.lineage import Lineage
from adapter.metrics import LearnerMetrics
from adapter.releases import ReleaseStore
from rewards.estimate import ScoredGroup
from rewards.rollouts import RolloutGroup

log = logging.getLogger("ratchet.learner")

MAX_ATTEMPTS = 3
_POLL_SECONDS = 1.0

Score = Callable[[RolloutGroup], Awaitable[ScoredGroup]]


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """Groups in one batch, and how many promotions old they may be."""

    groups: int
    max_lag: int


class Intake:
    """The batch in the making. Everything read is in it or settled, or will be delivered again."""

    def __init__(
        self,
        buffer: RolloutBuffer,
        releases: ReleaseStore,
        score: Score,
        lineage: Lineage,
        limits: IntakeLimits,
        metrics: LearnerMetrics,
    ) -> None:
        self._buffer, self._releases, self._score_group = buffer, releases, score
        self._lineage, self._limits, self._metrics = lineage, limits, metrics
        self._batch: list[tuple[Delivery, ScoredGroup]] = []
        self.flat = 0
        """Groups left out since the last batch because all their rewards were equal."""

    @property
    def batch(self) -> list[ScoredGroup]:
        """The groups taken so far."""
        return [scored for _, scored in self._batch]

    async def restart(self) -> None:
        """Forget the batch; everything unsettled is delivered again."""
        self._batch, self.flat = [], 0
        await self._buffer.rewind()

    async def fill(self) -> None:
        """Read until the batch is full."""
        while (missing := self._limits.groups - len(self._batch)) > 0:
            deliveries = await self._buffer.read(missing, _POLL_SECONDS)
            known = await self._releases.trained([d.group.id for d in deliveries if d.group])
            for delivery in deliveries:
                await self._take(delivery, known)

    async def settle(self, outcome: str) -> None:
        """Done with the whole batch."""
        await self._settle([delivery for delivery, _ in self._batch], outcome)
        self._batch, self.flat = [], 0

    async def drop_stale(self) -> None:
        """After the lineage has moved elsewhere: drop what is no longer of it."""
        stale = [delivery for delivery, scored in self._batch if self._stale(scored.group)]
        self._batch = [row for row in self._batch if not self._stale(row[1].group)]
        if stale:
            await self._settle(stale, "dropped:stale")

    async def _take(self, delivery: Delivery, known: set[str]) -> None:
        group = delivery.group
        if group is None:
            await self._bury(delivery, "unreadable")
        elif group.id in known:
            await self._settle([delivery], TRAINED)
        elif delivery.attempts > MAX_ATTEMPTS:
            await self._bury(delivery, f"crashed the learner {MAX_ATTEMPTS} times")
        elif not group.sampling.trainable:
            await self._settle([delivery], "dropped:truncated_sampling")
        elif self._stale(group):
            await self._settle([delivery], "dropped:stale")
        else:
            await self._score(delivery, group)

    async def _score(self, delivery: Delivery, group: RolloutGroup) -> None:
        try:
            scored = await self._score_group(group)
        except Exception as error:  # a group is data: whatever it breaks, the learner goes on
            log.exception("group %s cannot be scored", group.id)
            await self._bury(delivery, repr(error))
            return
        if scored.estimate.informative:
            self._batch.append((delivery, scored))
        else:
            self.flat += 1
            why = "unanimous" if scored.estimate.label is not None else "no_label"
            await self._settle([delivery], f"dropped:{why}")

    def _stale(self, group: RolloutGroup) -> bool:
        lag = self._lineage.lag(group.policy_version)
        return lag is None or lag > self._limits.max_lag

    async def _settle(self, deliveries: Sequence[Delivery], outcome: str) -> None:
        await self._buffer.settle(deliveries, outcome)
        self._metrics.groups.labels(outcome).inc(len(deliveries))

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        await self._buffer.bury(delivery, reason)
        self._metrics.groups.labels("dead").inc()
