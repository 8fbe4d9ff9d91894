"""The learner's loop: groups in, candidates out, one update at a time, always from the live one.

Commit protocol: save the candidate durably, publish its record together with the ids it consumed,
then settle the groups. A crash anywhere repeats work, never its effect (invariant I2).
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from adapter.adapter_folders import AdapterFolders
from adapter.buffer import TRAINED, BufferUnavailable, Delivery, RolloutBuffer
from adapter.metrics import LearnerMetrics
from adapter.model_card import config_hash, write_card
from adapter.releases import BASE, AdapterRelease, Fenced, ReleaseState, ReleaseStore
from adapter.scoring import Scoring
from adapter.trainer import Trainer, TrainerLost, UpdateDiverged
from rewards.estimate import ScoredGroup
from rewards.rollouts import RolloutGroup

log = logging.getLogger("ratchet.learner")

P = ParamSpec("P")
T = TypeVar("T")

MAX_ATTEMPTS = 3
MAX_DIVERGED = 3
_POLL_SECONDS = 1.0


class LearnerDiverged(Exception):
    """Three updates in a row were not finite: lower learning_rate or look at the rewards."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What turns groups into updates; `config` is what the ledger and the card say of it."""

    scoring: Scoring
    groups_per_update: int
    max_lag: int
    keep_versions: int
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])


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
    ) -> None:
        self._buffer, self._releases = buffer, releases
        self._trainer, self._folders, self._recipe = trainer, folders, recipe
        self._metrics = metrics or LearnerMetrics()
        self._lease_seconds = lease_seconds
        self._lineage: list[int] = []  # live version last, its ancestors before it
        self._batch: list[tuple[Delivery, ScoredGroup]] = []
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
        self._batch, self._lineage = [], []
        await self._buffer.rewind()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_lease(token))
                tasks.create_task(self._learn_forever(token))
        except* (Fenced, BufferUnavailable, LearnerDiverged, TrainerLost) as failed:
            raise failed.exceptions[0] from None
        finally:
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
        for release in await self._releases.all():  # what a predecessor left unjudged
            await self._verdict(release.version)
        await self._prune()
        while True:
            await self.learn(token)

    async def learn(self, token: int) -> AdapterRelease | None:
        """Fill a batch, make one candidate of it, and wait for its verdict."""
        await self._follow_live()
        started = time.monotonic()
        await self._fill_batch()
        self._observe("collect", started)
        started = time.monotonic()
        batch = self._recipe.scoring.advantages([scored for _, scored in self._batch])
        try:
            metrics = await self._train(self._trainer.update, batch)
        except UpdateDiverged as error:
            await self._skip_diverged(str(error))
            return None
        self._diverged = 0
        self._observe("train", started)
        release = await self._publish(token, {**metrics, **self._reward_metrics()})
        return await self._await_verdict(release)

    async def _follow_live(self) -> None:
        """Start from whatever is served now: after a rollback, that is an older version."""
        live = await self._releases.live()
        if self._lineage and live == self._lineage[-1]:
            return
        folder = None
        if live != BASE:
            folder = self._folders.verified(await self._releases.get(live))
        await self._train(self._trainer.load, folder)
        parents = {r.version: r.parent for r in await self._releases.all()}
        self._lineage = [live]
        while self._lineage[0] != BASE:
            self._lineage.insert(0, parents[self._lineage[0]])
        stale = [row for row in self._batch if self._stale(row[1].group)]
        self._batch = [row for row in self._batch if not self._stale(row[1].group)]
        if stale:
            await self._settle([row[0] for row in stale], "dropped:stale")

    async def _fill_batch(self) -> None:
        while (missing := self._recipe.groups_per_update - len(self._batch)) > 0:
            deliveries = await self._buffer.read(missing, _POLL_SECONDS)
            known = await self._releases.trained([d.group.id for d in deliveries if d.group])
            for delivery in deliveries:
                await self._take(delivery, known)

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
            scored = await self._train(self._recipe.scoring.score, group, self._trainer)
        except TrainerLost:
            raise
        except Exception as error:  # a group is data: whatever it breaks, the learner goes on
            log.exception("group %s cannot be scored", group.id)
            await self._bury(delivery, repr(error))
            return
        if scored.estimate.informative:
            self._batch.append((delivery, scored))
        else:
            why = "unanimous" if scored.estimate.label is not None else "no_label"
            await self._settle([delivery], f"dropped:{why}")

    async def _publish(self, token: int, metrics: Mapping[str, float]) -> AdapterRelease:
        started = time.monotonic()
        draft = AdapterRelease(
            version=await self._releases.reserve(),
            parent=self._lineage[-1],
            folder="",
            sha256="",
            sample_ids=[scored.group.id for _, scored in self._batch],
            metrics=metrics,
            created_at=time.time(),
            config=config_hash(self._recipe.config),
        )

        def write(folder: Path) -> None:
            self._trainer.save(folder)
            write_card(folder, draft, self._recipe.config)

        name, digest = await self._train(self._folders.commit, draft.version, write)
        release = replace(draft, folder=name, sha256=digest)
        await self._releases.publish(release, token)
        await self._settle([delivery for delivery, _ in self._batch], TRAINED)
        self._batch = []
        self._observe("publish", started)
        for key, value in metrics.items():
            self._metrics.last.labels(key).set(value)
        return release

    async def _await_verdict(self, release: AdapterRelease) -> AdapterRelease:
        started = time.monotonic()
        now = await self._verdict(release.version)
        self._observe("verdict", started)
        self._metrics.updates.labels(now.state.value).inc()
        if now.state is ReleaseState.REJECTED:
            await self._train(self._trainer.undo)
            log.warning("v%d rejected: %s", now.version, now.reason)
        else:
            self._lineage.append(now.version)
            log.info("v%d promoted: %s", now.version, now.reason)
        await self._prune()
        return now

    async def _verdict(self, version: int) -> AdapterRelease:
        seen = ""
        while (now := await self._releases.get(version)).state is ReleaseState.CANDIDATE:
            seen = await self._releases.wait(seen, _POLL_SECONDS)
        return now

    async def _prune(self) -> None:
        """Keep the folders of live, candidate and the last few retired versions; delete others."""
        releases = await self._releases.all()
        needed = [r for r in releases if r.state in (ReleaseState.LIVE, ReleaseState.CANDIDATE)]
        retired = [r for r in releases if r.state is ReleaseState.RETIRED]
        keep = {r.folder for r in [*needed, *retired[-self._recipe.keep_versions :]]}
        await asyncio.to_thread(self._folders.prune, keep)

    async def _skip_diverged(self, why: str) -> None:
        self._diverged += 1
        self._metrics.diverged.inc()
        log.error("update skipped: %s", why)
        await self._settle([delivery for delivery, _ in self._batch], "dropped:diverged")
        self._batch = []
        if self._diverged >= MAX_DIVERGED:
            raise LearnerDiverged(f"{MAX_DIVERGED} updates in a row: {why}")

    def _reward_metrics(self) -> dict[str, float]:
        estimates = [scored.estimate for _, scored in self._batch]
        rewards = [reward for estimate in estimates for reward in estimate.rewards]
        lags = [self._lag(scored.group) or 0 for _, scored in self._batch]
        names = estimates[0].stats
        return {
            **{name: sum(e.stats[name] for e in estimates) / len(estimates) for name in names},
            "reward": sum(rewards) / len(rewards),
            "lag": sum(lags) / len(lags),
        }

    def _lag(self, group: RolloutGroup) -> int | None:
        """Promotions since the group was sampled; None if its version is not an ancestor."""
        if group.policy_version not in self._lineage:
            return None
        return len(self._lineage) - 1 - self._lineage.index(group.policy_version)

    def _stale(self, group: RolloutGroup) -> bool:
        lag = self._lag(group)
        return lag is None or lag > self._recipe.max_lag

    async def _train(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _settle(self, deliveries: Sequence[Delivery], outcome: str) -> None:
        await self._buffer.settle(deliveries, outcome)
        self._metrics.groups.labels(outcome).inc(len(deliveries))

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        await self._buffer.bury(delivery, reason)
        self._metrics.groups.labels("dead").inc()

    def _observe(self, stage: str, started: float) -> None:
        self._metrics.seconds.labels(stage).observe(time.monotonic() - started)
