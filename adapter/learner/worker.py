"""The learner's loop: groups in, candidates out, one update at a time, always from the live one.

Commit protocol: save the candidate durably, publish its record together with the ids it consumed,
then settle the groups. A crash anywhere repeats work, never its effect (invariant I2).
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from adapter.learner.batch_metrics import batch_metrics
from adapter.learner.intake import Intake, IntakeLimits
from adapter.learner.lineage import AGE, Lineage, last_good
from adapter.learner.metrics import LearnerMetrics
from adapter.learner.model_card import config_hash, write_card
from adapter.learner.quota import InfluenceLimits
from adapter.learner.scoring import Scoring
from adapter.learner.training_log import TrainingLog
from adapter.store.adapter_folders import AdapterFolders, ReleaseCorrupt
from adapter.store.buffer import BufferUnavailable, Outcome, RolloutBuffer
from adapter.store.clients import pseudonym
from adapter.store.releases import BASE, CLOSED, AdapterRelease, Fenced, ReleaseState, ReleaseStore
from adapter.tasks import end
from adapter.trainer import Trainer, UpdateDiverged
from rewards.estimators.estimate import ScoredGroup
from rewards.rollouts import RolloutGroup

log = logging.getLogger("ratchet.learner")

P = ParamSpec("P")
T = TypeVar("T")

MAX_DIVERGED = 3
LAST_GOOD = "last_good"
_POLL_SECONDS = 1.0
_DISK_SECONDS = 1.0


class LearnerDiverged(Exception):
    """Too many updates in a row were not finite."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What turns groups into updates; `config` is what the ledger and the card say of it."""

    scoring: Scoring
    groups_per_update: int
    max_lag: int
    keep_versions: int
    max_age: int = 0
    reanchor: str = LAST_GOOD
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    influence: InfluenceLimits = field(default_factory=InfluenceLimits)


class Worker:
    """One learner. `run` until cancelled; `learn` makes a single update."""

    def __init__(
        self,
        buffer: RolloutBuffer,
        releases: ReleaseStore,
        trainer: Trainer,
        folders: AdapterFolders,
        recipe: Recipe,
        metrics: LearnerMetrics | None = None,
        lease_seconds: float = 15.0,
        training_log: TrainingLog | None = None,
    ) -> None:
        self._releases = releases
        self._trainer, self._folders, self._recipe = trainer, folders, recipe
        self._metrics = metrics or LearnerMetrics()
        self._log = training_log or TrainingLog()
        self._lease_seconds = lease_seconds
        self._lineage = Lineage()
        self._intake = Intake(
            buffer,
            releases,
            self._score,
            self._lineage,
            IntakeLimits(recipe.groups_per_update, recipe.max_lag, recipe.influence),
            self._metrics,
        )
        self._diverged = 0
        # One thread for all of torch's work: each further one would hold memory of its own.
        self._thread = ThreadPoolExecutor(1, "trainer")

    async def run(self) -> None:
        """Lead whenever the lease is to be had; start over when it or Redis is lost.

        Raises LearnerDiverged, TrainerLost.
        """
        while True:
            try:
                await self._lead_once()
            except (Fenced, BufferUnavailable) as error:
                log.warning("starting over: %s", error)
                await asyncio.sleep(_POLL_SECONDS)

    async def _lead_once(self) -> None:
        token = await self._acquire()
        self._metrics.leading.set(1)
        self._lineage.clear()
        await self._intake.restart()
        tasks = [
            asyncio.create_task(self._keep_lease(token)),
            asyncio.create_task(self._learn_forever(token)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()  # neither ends but by raising
        finally:
            await end(tasks)  # one left over would learn on without a lease
            self._metrics.leading.set(0)
            with contextlib.suppress(BufferUnavailable):
                await self._releases.resign(token)

    async def _acquire(self) -> int:
        while (token := await self._releases.acquire(self._lease_seconds)) is None:
            log.info("another learner holds the lease; standing by")
            await asyncio.sleep(self._lease_seconds / 3)
        return token

    async def _keep_lease(self, token: int) -> None:
        while await self._releases.renew(token, self._lease_seconds):
            await asyncio.sleep(self._lease_seconds / 3)
        raise Fenced(f"lease {token} was lost")

    async def _learn_forever(self, token: int) -> None:
        for release in await self._releases.all():
            if release.state is ReleaseState.CANDIDATE:  # what a predecessor left unjudged
                await self._log_verdict(await self._verdict(release.version))
        await self._prune()
        while True:
            try:
                await self.learn(token)
            except ReleaseCorrupt as error:  # until it is back, or another version is live
                log.error("cannot go on from what is live in adapters_dir: %s", error)
                await asyncio.sleep(_POLL_SECONDS)

    async def learn(self, token: int) -> AdapterRelease | None:
        """Fill a batch, make one candidate of it, and wait for its verdict."""
        await self._follow_live()
        if self._recipe.max_age and self._lineage.age >= self._recipe.max_age:
            await self._reanchor()
            return None
        begun = started = time.monotonic()
        await self._intake.fill()
        self._observe("collect", started)
        started = time.monotonic()
        batch = self._recipe.scoring.advantages(self._intake.batch)
        try:
            metrics = await self._train(self._trainer.update, batch)
        except UpdateDiverged as error:
            await self._skip_diverged(str(error))
            return None
        self._diverged = 0
        self._observe("train", started)
        metrics = {**metrics, **await self._batch_metrics(), "step_time": time.monotonic() - begun}
        release = await self._publish(token, metrics)
        return await self._await_verdict(release)

    async def _follow_live(self) -> None:
        """Start from whatever is served now: after a rollback, that is an older version."""
        live = await self._releases.live()
        if live == self._lineage.tip:
            return
        folder = None
        if live != BASE:
            folder = self._folders.verified(await self._releases.get(live))
        await self._train(self._trainer.load, folder)
        self._lineage.follow(live, await self._releases.all(), folder)
        await self._intake.drop_stale()

    async def _reanchor(self) -> None:
        """The lineage has spent its age budget: have an earlier version served, and go on there."""
        live, budget = self._lineage.tip or BASE, self._recipe.max_age
        target = BASE
        if self._recipe.reanchor == LAST_GOOD:
            target = last_good(await self._releases.all(), live, budget)
        why = f"v{live} has learnt from {self._lineage.age} distinct queries, budget {budget}"
        await self._releases.promote(target, live, why)
        log.warning("back to %s: %s", f"v{target}" if target else "base", why)

    async def _score(self, group: RolloutGroup, rehearse: bool) -> ScoredGroup:
        scored = await self._train(self._recipe.scoring.score, group, self._trainer)
        if rehearse and scored.estimate.informative:
            alone = self._recipe.scoring.advantages([scored])
            await self._train(self._trainer.rehearse, alone)
        return scored

    async def _publish(self, token: int, metrics: Mapping[str, float]) -> AdapterRelease:
        started = time.monotonic()
        batch = self._intake.batch
        age = self._lineage.consider(scored.group.prompt for scored in batch)
        draft = AdapterRelease(
            version=await self._releases.reserve(),
            parent=self._lineage.tip or BASE,
            folder="",
            sha256="",
            sample_ids=[scored.group.id for scored in batch],
            metrics={**metrics, AGE: age},
            created_at=time.time(),
            config=config_hash(self._recipe.config),
            clients=sorted({pseudonym(scored.group.client) for scored in self._intake.batch}),
        )

        def write(folder: Path) -> None:
            self._trainer.save(folder)
            self._lineage.save(folder)
            write_card(folder, draft, self._recipe.config)

        name, digest = await self._commit(draft.version, write)
        release = replace(draft, folder=name, sha256=digest)
        await self._releases.publish(release, token)
        await self._intake.settle(Outcome.TRAINED)
        self._observe("publish", started)
        self._metrics.updated(draft.metrics)
        await asyncio.to_thread(self._log.write, release.version, metrics)
        return release

    async def _commit(self, version: int, write: Callable[[Path], None]) -> tuple[str, str]:
        """Save a candidate, however long it takes until the disk lets us: nothing is lost by
        waiting, for batch and weights are still here."""
        while True:
            try:
                return await self._train(self._folders.commit, version, write)
            except OSError as error:
                log.error("cannot write to adapters_dir %s: %s", self._folders.root, error)
                await asyncio.sleep(_DISK_SECONDS)

    async def _await_verdict(self, release: AdapterRelease) -> AdapterRelease:
        started = time.monotonic()
        now = await self._verdict(release.version)
        self._observe("verdict", started)
        self._metrics.updates.labels(now.state.value).inc()
        await self._log_verdict(now)
        if now.state in CLOSED:
            await self._train(self._trainer.undo)
            log.warning("v%d %s: %s", now.version, now.state, now.reason)
        else:
            self._lineage.grow(now.version)
            log.info("v%d promoted: %s", now.version, now.reason)
        await self._prune()
        return now

    async def _verdict(self, version: int) -> AdapterRelease:
        seen = ""
        while (now := await self._releases.get(version)).state is ReleaseState.CANDIDATE:
            seen = await self._releases.wait(seen, _POLL_SECONDS)
        return now

    async def _prune(self) -> None:
        """Keep the folders of live, candidate, the last few retired versions, and of the one to go
        back to; delete others."""
        releases = await self._releases.all()
        needed = [r for r in releases if r.state in (ReleaseState.LIVE, ReleaseState.CANDIDATE)]
        retired = [r for r in releases if r.state is ReleaseState.RETIRED]
        kept = [*needed, *retired[-self._recipe.keep_versions :]]
        if self._recipe.max_age and self._recipe.reanchor == LAST_GOOD:
            good = last_good(releases, await self._releases.live(), self._recipe.max_age)
            kept += [release for release in releases if release.version == good]
        keep = {release.folder for release in kept}
        await asyncio.to_thread(self._folders.prune, keep)

    async def _skip_diverged(self, why: str) -> None:
        self._diverged += 1
        self._metrics.diverged.inc()
        log.error("update skipped: %s", why)
        await self._intake.settle(Outcome.DIVERGED)
        if self._diverged >= MAX_DIVERGED:
            raise LearnerDiverged(
                f"{MAX_DIVERGED} updates in a row: {why}; lower learning_rate, look at the rewards"
            )

    async def _log_verdict(self, judged: AdapterRelease) -> None:
        promoted = float(judged.state in (ReleaseState.LIVE, ReleaseState.RETIRED))
        numbers = {**judged.numbers, "promoted": promoted}
        await asyncio.to_thread(self._log.write, judged.version, numbers)

    async def _batch_metrics(self) -> dict[str, float]:
        batch = self._intake.batch
        found = batch_metrics(batch, self._recipe.scoring.name, self._intake.flat)
        if self._lineage.tip:  # counted over the whole lineage
            parent = await self._releases.get(self._lineage.tip)
            found["num_tokens"] += parent.metrics.get("num_tokens", 0.0)
        lags = [self._lineage.lag(scored.group.policy_version) or 0 for scored in batch]
        return {**found, "lag": sum(lags) / len(lags)}

    async def _train(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _observe(self, stage: str, started: float) -> None:
        self._metrics.seconds.labels(stage).observe(time.monotonic() - started)
