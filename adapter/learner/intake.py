"""Fills batches with groups worth learning from; settles all others with a counted reason."""

import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from adapter.learner.lineage import Lineage
from adapter.learner.metrics import LearnerMetrics
from adapter.learner.prompt_print import PromptPrint
from adapter.learner.quota import Member, refusal, surplus
from adapter.learner.recipe import Recipe
from adapter.store.buffer import MAX_CRASHES, DeadReason, Delivery, Outcome, RolloutBuffer
from adapter.store.releases import ReleaseStore
from adapter.trainer import OutOfMemory, TrainerLost, TrainerThread
from rewards.estimators.estimate import ScoredGroup
from rewards.rollouts import RolloutGroup

log = logging.getLogger("ratchet.learner")

_POLL_SECONDS = 1.0
_PATIENCE = 4
"""Batches' worth of groups left out before each warning."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A group in the batch."""

    delivery: Delivery
    scored: ScoredGroup
    member: Member


class Intake:
    """The next batch. Every group read is in it, settled, or delivered again later."""

    def __init__(
        self,
        *,
        buffer: RolloutBuffer,
        releases: ReleaseStore,
        trainer: TrainerThread,
        lineage: Lineage,
        recipe: Recipe,
        metrics: LearnerMetrics,
    ) -> None:
        self._buffer, self._releases, self._trainer = buffer, releases, trainer
        self._lineage, self._recipe, self._metrics = lineage, recipe, metrics
        self._batch: list[_Taken] = []
        self._learnt: list[_Taken] = []
        self._left_out = 0
        self.flat = 0
        """Groups dropped since the last candidate because their rewards were all equal."""

    @property
    def batch(self) -> list[ScoredGroup]:
        """The groups taken so far."""
        return [taken.scored for taken in self._batch]

    @property
    def learnt(self) -> list[ScoredGroup]:
        """The groups of the updates since the last candidate."""
        return [taken.scored for taken in self._learnt]

    @property
    def complete(self) -> bool:
        """Whether a candidate's updates have all been made."""
        recipe = self._recipe
        return len(self._learnt) >= recipe.groups_per_update * recipe.updates_per_candidate

    def keep(self) -> None:
        """The batch has been learnt from: go on to the next one, and settle it with the candidate,
        since until that is on record nothing of it is."""
        self._learnt += self._batch
        self._batch, self._left_out = [], 0

    async def unlearn(self) -> None:
        """Drop what was learnt on top of a version that is no longer live."""
        if self._learnt:
            await self._settle([taken.delivery for taken in self._learnt], Outcome.STALE)
        self._learnt, self.flat = [], 0

    async def restart(self) -> None:
        """Drop the batch; everything unsettled is delivered again."""
        self._clear()
        await self._buffer.rewind()

    async def fill(self) -> None:
        """Read until the batch is full and no client has more than its share."""
        while True:
            missing = self._recipe.groups_per_update - len(self._batch) or await self._share_out()
            if not missing:
                return
            deliveries = await self._buffer.read(missing, _POLL_SECONDS)
            known = await self._releases.trained([d.group.id for d in deliveries if d.group])
            for delivery in deliveries:
                await self._take(delivery, known)

    async def drop_diverged(self) -> None:
        """Drop the batch, whose update diverged."""
        await self._settle([taken.delivery for taken in self._batch], Outcome.DIVERGED)
        self._batch, self._left_out = [], 0

    async def settle(self) -> None:
        """Settle what the candidate that is now on record was learnt from."""
        await self._settle([taken.delivery for taken in self._learnt], Outcome.TRAINED)
        self._clear()

    async def drop_stale(self) -> None:
        """Drop groups that are stale by now: of the batch, and those passed over in the buffer
        because newer ones filled it."""
        stale = [one for one in self._batch if self._stale(one.delivery, one.scored.group)]
        self._batch = [one for one in self._batch if one not in stale]
        if stale:
            await self._settle([one.delivery for one in stale], Outcome.STALE)
        recent = self._lineage.recent(self._recipe.max_lag)
        passed_over = await self._buffer.drop_unread(recent, Outcome.STALE)
        self._metrics.groups.labels(Outcome.STALE).inc(passed_over)

    async def drop_too_large(self, error: OutOfMemory) -> None:
        """Drop the group of which one rollout does not fit into memory alone."""
        large = [one for one in self._batch if one.scored.group.id == error.group]
        self._batch = [one for one in self._batch if one not in large]
        await self._settle_too_large([one.delivery for one in large], error)

    async def _take(self, delivery: Delivery, known: set[str]) -> None:
        group = delivery.group
        if group is None:
            await self._dead_letter(delivery, DeadReason.UNREADABLE)
        elif group.id in known:
            await self._settle([delivery], Outcome.TRAINED)
        elif not is_sound(group):
            await self._dead_letter(delivery, DeadReason.MALFORMED)
        elif not group.sampling.trainable:
            await self._settle([delivery], Outcome.TRUNCATED_SAMPLING)
        elif self._stale(delivery, group):
            await self._settle([delivery], Outcome.STALE)
        else:
            prompt = PromptPrint.of(group.prompt)
            members = [taken.member for taken in self._batch]
            why = refusal(members, group.client, prompt, self._recipe.influence)
            if why is not None:
                await self._leave_out(delivery, why)
            else:
                await self._try(delivery, group, prompt)

    async def _try(self, delivery: Delivery, group: RolloutGroup, prompt: PromptPrint) -> None:
        """Score a group. One delivered before may have killed the learner, as may any other of its
        batch: so do a dry run on it alone, under `hold`."""
        if delivery.attempts == 1:
            await self._add(delivery, group, prompt)
            return
        crashes = 1 + await self._buffer.hold(delivery)  # the first one was not noted
        if crashes >= MAX_CRASHES:
            await self._dead_letter(delivery, DeadReason.CRASHED)
        else:
            await self._add(delivery, group, prompt, dry_run=True)
        await self._buffer.release(delivery)

    async def _add(
        self, delivery: Delivery, group: RolloutGroup, prompt: PromptPrint, dry_run: bool = False
    ) -> None:
        """Score a group and add it to the batch if it teaches anything."""
        try:
            score = functools.partial(self._recipe.scoring.score, group, dry_run=dry_run)
            scored = await self._trainer.do(score)
        except TrainerLost:
            raise
        except OutOfMemory as error:
            await self._settle_too_large([delivery], error)
            return
        except Exception as error:  # a group is data: whatever it breaks, the learner goes on
            log.exception("group %s cannot be scored", group.id)
            await self._dead_letter(delivery, DeadReason.NOT_SCORED, repr(error))
            return
        if scored.estimate.informative:
            tokens = sum(len(group.rollouts[row].token_ids) for row in scored.estimate.kept)
            self._batch.append(_Taken(delivery, scored, Member(group.client, tokens, prompt)))
        else:
            self.flat += 1
            unanimous = scored.estimate.label is not None
            await self._settle([delivery], Outcome.UNANIMOUS if unanimous else Outcome.NO_LABEL)

    async def _share_out(self) -> int:
        """Drop one group of a full batch if a client has too much of it. Returns how many."""
        at = surplus([taken.member for taken in self._batch], self._recipe.influence)
        if at is None:
            return 0
        await self._leave_out(self._batch.pop(at).delivery, Outcome.CLIENT_QUOTA)
        return 1

    async def _leave_out(self, delivery: Delivery, why: Outcome) -> None:
        self._left_out += 1
        if self._left_out % (_PATIENCE * self._recipe.groups_per_update) == 0:
            log.warning(
                "%d groups left out of this update, the last for %s: it waits for other clients "
                "or other questions", self._left_out, why.removeprefix("dropped:"),
            )  # fmt: skip
        await self._settle([delivery], why)

    def _stale(self, delivery: Delivery, group: RolloutGroup) -> bool:
        """Too old or of another branch, unless it is a replay."""
        lag = self._lineage.lag(group.policy_version)
        return not delivery.replay and (lag is None or lag > self._recipe.max_lag)

    def _clear(self) -> None:
        self._batch, self._learnt, self.flat, self._left_out = [], [], 0, 0

    async def _settle_too_large(self, large: Sequence[Delivery], error: OutOfMemory) -> None:
        log.error(
            "group %s left out: %s, which is one rollout; set gradient_checkpointing to on, or "
            "lower the server's max_tokens", error.group, error,
        )  # fmt: skip
        await self._settle(large, Outcome.TOO_LARGE)

    async def _settle(self, deliveries: Sequence[Delivery], outcome: Outcome) -> None:
        await self._buffer.settle(deliveries, outcome)
        self._metrics.groups.labels(outcome).inc(len(deliveries))

    async def _dead_letter(self, delivery: Delivery, reason: DeadReason, detail: str = "") -> None:
        await self._buffer.dead_letter(delivery, reason, detail)
        self._metrics.groups.labels(Outcome.DEAD).inc()


def is_sound(group: RolloutGroup) -> bool:
    """Whether it has a prompt, rollouts, no negative token and finite log-probabilities."""
    return bool(group.prompt_ids and group.rollouts) and all(
        # A sum is finite if all its terms are, and ten times as fast as asking each.
        min(rollout.token_ids, default=0) >= 0 and math.isfinite(sum(rollout.logprobs))
        for rollout in group.rollouts
    )
