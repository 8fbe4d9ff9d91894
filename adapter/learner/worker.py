"""The learner's loop: groups in, candidates out, a few updates each, always from the live one.

Commit protocol: save the candidate durably, publish its record together with the ids it consumed,
then settle the groups. A crash anywhere repeats work, never its effect (invariant I2).
"""

import asyncio
import logging
import statistics
import time
from collections.abc import Sequence
from typing import NoReturn

from adapter.learner.batch_metrics import batch_metrics
from adapter.learner.checkpoints import Checkpoints
from adapter.learner.intake import Intake
from adapter.learner.lineage import Lineage
from adapter.learner.metrics import LearnerMetrics
from adapter.learner.recipe import Recipe
from adapter.learner.training_log import TrainingLog
from adapter.lease import acquire, under_lease
from adapter.store.adapter_folders import AdapterFolders, ReleaseCorrupt
from adapter.store.buffer import BufferUnavailable, RolloutBuffer
from adapter.store.releases import CLOSED, AdapterRelease, Fenced, ReleaseState, ReleaseStore
from adapter.trainer import OutOfMemory, Trainer, TrainerThread, UpdateDiverged
from rewards.estimators.estimate import ScoredGroup

log = logging.getLogger("ratchet.learner")

MAX_DIVERGED = 3
_POLL_SECONDS = 1.0


class LearnerDiverged(Exception):
    """Too many updates in a row were not finite."""


class Worker:
    """One learner. `run` until cancelled; `learn` makes a single update."""

    def __init__(
        self,
        *,
        buffer: RolloutBuffer,
        releases: ReleaseStore,
        trainer: Trainer,
        folders: AdapterFolders,
        recipe: Recipe,
        metrics: LearnerMetrics | None = None,
        lease_seconds: float = 15.0,
        training_log: TrainingLog | None = None,
    ) -> None:
        self._releases, self._lease_seconds = releases, lease_seconds
        self._metrics = metrics or LearnerMetrics()
        self._trainer = TrainerThread(trainer, self._metrics.out_of_memory.inc)
        self._lineage, self._scoring = Lineage(), recipe.scoring
        self._log = training_log or TrainingLog()
        self._checkpoints = Checkpoints(
            releases=releases, folders=folders, trainer=self._trainer, lineage=self._lineage,
            recipe=recipe,
        )  # fmt: skip
        self._intake = Intake(
            buffer=buffer, releases=releases, trainer=self._trainer, lineage=self._lineage,
            recipe=recipe, metrics=self._metrics,
        )  # fmt: skip
        self._diverged = 0

    async def run(self) -> NoReturn:
        """Learn whenever the lease is free; start over when it or Redis is lost. Raises
        LearnerDiverged, TrainerLost."""
        while True:
            try:
                token = await acquire(self._releases, self._lease_seconds)
                with self._metrics.leading.track_inprogress():
                    await under_lease(
                        self._releases, token, self._lease_seconds, self._learn_forever(token)
                    )
            except (Fenced, BufferUnavailable) as error:
                log.warning("starting over: %s", error)
                await asyncio.sleep(_POLL_SECONDS)

    async def _learn_forever(self, token: int) -> NoReturn:
        self._lineage.clear()
        await self._intake.restart()
        for release in await self._releases.all():
            if release.state is ReleaseState.CANDIDATE:  # left unjudged by a predecessor
                await self._log_verdict(await self._verdict(release.version))
        await self._checkpoints.prune()
        while True:
            try:
                await self.learn(token)
            except ReleaseCorrupt as error:  # until it is back or another version is live
                log.error("cannot go on from what is live in adapters_dir: %s", error)
                await asyncio.sleep(_POLL_SECONDS)

    async def learn(self, token: int) -> AdapterRelease | None:
        """Make an update; after a candidate's last one, publish it and wait for its verdict."""
        if await self._checkpoints.follow_live():
            await self._intake.unlearn()
        await self._intake.drop_stale()
        if await self._checkpoints.reanchor():
            return None
        started = time.monotonic()
        with self._metrics.stage("collect"):
            await self._intake.fill()
        try:
            with self._metrics.stage("train"):
                metrics = await self._update(self._intake.batch)
        except UpdateDiverged as error:
            await self._skip(str(error))
            return None
        except OutOfMemory as error:  # the rest of the batch waits for another group
            await self._intake.drop_too_large(error)
            return None
        self._diverged = 0
        self._intake.keep()
        if not self._intake.complete:
            return None
        metrics |= await self._described(self._intake.learnt, self._intake.flat)
        metrics["step_time"] = time.monotonic() - started
        with self._metrics.stage("publish"):
            release = await self._checkpoints.publish(token, self._intake.learnt, metrics)
            await self._intake.settle()
        self._metrics.updated(release.metrics)
        await asyncio.to_thread(self._log.write, release.version, metrics)
        return await self._await_verdict(release)

    async def _update(self, batch: Sequence[ScoredGroup]) -> dict[str, float]:
        """Returns the metrics of the update."""
        groups = self._scoring.advantages(batch)
        return dict(await self._trainer.do(lambda trainer: trainer.update(groups)))

    async def _described(self, learnt: Sequence[ScoredGroup], flat: int) -> dict[str, float]:
        """The metrics of what a candidate learnt from."""
        described = batch_metrics(learnt, self._scoring.name, flat)
        if self._lineage.tip:  # counted over the whole lineage
            parent = await self._releases.get(self._lineage.tip)
            described["num_tokens"] += parent.metrics.get("num_tokens", 0.0)
        lags = [self._lineage.lag(scored.group.policy_version) or 0 for scored in learnt]
        return {**described, "lag": statistics.fmean(lags)}

    async def _skip(self, why: str) -> None:
        self._diverged += 1
        self._metrics.diverged.inc()
        log.error("update skipped: %s", why)
        await self._intake.drop_diverged()
        if self._diverged >= MAX_DIVERGED:
            raise LearnerDiverged(
                f"{MAX_DIVERGED} updates in a row: {why}; lower learning_rate, look at the rewards"
            )

    async def _await_verdict(self, release: AdapterRelease) -> AdapterRelease:
        with self._metrics.stage("verdict"):
            now = await self._verdict(release.version)
        self._metrics.updates.labels(now.state.value).inc()
        await self._log_verdict(now)
        if now.state in CLOSED:
            self._lineage.clear()  # back to what is live, from its folder
            log.warning("v%d %s: %s", now.version, now.state, now.reason)
        else:
            self._lineage.grow(now.version)
            log.info("v%d promoted: %s", now.version, now.reason)
        await self._checkpoints.prune()
        return now

    async def _verdict(self, version: int) -> AdapterRelease:
        seen = ""
        while (now := await self._releases.get(version)).state is ReleaseState.CANDIDATE:
            seen = await self._releases.wait(seen, _POLL_SECONDS)
        return now

    async def _log_verdict(self, judged: AdapterRelease) -> None:
        promoted = float(judged.state in (ReleaseState.LIVE, ReleaseState.RETIRED))
        numbers = {**judged.numbers, "promoted": promoted}
        await asyncio.to_thread(self._log.write, judged.version, numbers)
