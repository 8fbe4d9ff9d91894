"""Promotes candidates, or rejects them.

Two tasks: one follows the live pointer, which another server or a rollback may move, and never
waits for the other, which judges.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from adapter.store.buffer import BufferUnavailable
from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.releases import AdapterRelease, ReleaseState, ReleaseStore
from adapter.tasks import beside
from server.engine.base import Engine, EngineError
from server.metrics import ServerMetrics
from server.policy.spending import Spending
from server.promotion.lock_in import locked_in
from server.promotion.monitor import Monitor
from server.promotion.steps import PromotionStep, verdicts
from server.promotion.trial import Trial
from server.promotion.versions import Versions

log = logging.getLogger("ratchet.promotion")

_POLL_SECONDS = 1.0
_LEASE_SECONDS = 15.0
_MOST_ENDS = 2
"""Engine ends over one candidate after which it is not tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoter:
    """One per server process, with a `name` of its own. `run` until cancelled."""

    engine: Engine
    releases: ReleaseStore
    versions: Versions
    trial: Trial
    steps: Sequence[PromotionStep]
    monitor: Monitor
    spending: Spending
    metrics: ServerMetrics
    lock_in: float = 1.0
    """Majority from which on learning has locked in."""
    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    async def run(self) -> None:
        """React to every change of the releases, and check once a second."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.versions.sync))
            tasks.create_task(self._repeat(self.judge))

    async def sync(self) -> None:
        """Follow the live pointer, then judge. Raises EngineError, BufferUnavailable."""
        await self.versions.sync()
        await self.judge()

    async def judge(self) -> None:
        """Check the live version and decide waiting candidates, unless judging is paused, there are
        too few queries to judge by, the budget is spent, or another server judges. Raises
        EngineError, BufferUnavailable."""
        ready = self.trial.ready and self.spending.affords
        if not ready or await self.releases.paused() is not None:
            return
        if await self.releases.judges(self.name, _LEASE_SECONDS):
            await beside(self._go_on_judging(), self._judge())

    async def _go_on_judging(self) -> NoReturn:
        """Renew the lease. Raises BufferUnavailable once it is lost."""
        while await self.releases.judges(self.name, _LEASE_SECONDS):
            await asyncio.sleep(_LEASE_SECONDS / 3)
        raise BufferUnavailable("another server has begun to judge")

    async def _judge(self) -> None:
        if await self.monitor.check(await self.releases.all()):
            self.metrics.rollbacks.inc()
            await self.versions.sync()
        for release in await self.releases.all():
            ready = self.trial.ready and self.spending.affords
            if release.state is ReleaseState.CANDIDATE and ready:
                await self._decide(release)

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        mark = ""
        while True:
            try:
                await work()
                mark = await self.releases.wait(mark, _POLL_SECONDS)
            except (BufferUnavailable, EngineError) as error:
                away = "engine" if isinstance(error, EngineError) else "releases"
                log.warning("%s unreachable: %s", away, error)
                await asyncio.sleep(_POLL_SECONDS)

    async def _decide(self, release: AdapterRelease) -> None:
        ends = await self._engine_ends(release)
        if ends >= _MOST_ENDS:
            reason = f"the engine ended {ends} times while it was tried"
            steps = [turned_away(Step.TRIAL, Cause.ENGINE_ENDED, reason)]
        else:
            await self.releases.note_trial(release.version, ends)
            steps = await verdicts(self.steps, release)
        await self.releases.note_trial(release.version, None)
        if steps is None or await self.releases.paused() is not None:
            return  # decided elsewhere, or paused meanwhile: then it is judged again later
        if steps[-1].passed:
            await self._promote(release, steps)
            return
        await self.releases.reject(release.version, steps[-1].reason, steps)
        await self.engine.unload(release.folder)
        self.metrics.judged(steps, promoted=False)
        log.warning("v%d rejected: %s", release.version, steps[-1].reason)

    async def _engine_ends(self, release: AdapterRelease) -> int:
        """How often the engine has ended while this candidate was tried. It was being tried if that
        is noted, and the engine has ended since if it no longer has the adapter."""
        present = await self.engine.models()
        noted = await self.releases.tried(release.version)
        return 0 if noted is None else noted + (release.folder not in present)

    async def _promote(self, release: AdapterRelease, steps: Sequence[StepVerdict]) -> None:
        started = time.monotonic()
        reason = next(verdict.reason for verdict in reversed(steps) if verdict.reason)
        self.versions.add(release, steps)
        if not await self.releases.promote(release.version, release.parent, reason, steps):
            await self.versions.drop(release)  # another server, or a rollback, came first
            return
        self.versions.go_live(release.version)
        self.metrics.swap_seconds.labels("flip").observe(time.monotonic() - started)
        self.metrics.judged(steps, promoted=True)
        log.info("v%d is live: %s", release.version, reason)
        if why := locked_in(await self.releases.all(), self.lock_in):
            log.error("candidates wait from now on: %s", why)
            await self.releases.pause(why)
