"""Brings candidates live, or turns them away.

Two tasks: one follows the live pointer, which another server or a rollback may move, and never
waits for the other, which judges.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from adapter.store.buffer import BufferUnavailable
from adapter.store.judgement import StepVerdict
from adapter.store.releases import AdapterRelease, ReleaseState, ReleaseStore
from server.engine.base import Engine, EngineError
from server.metrics import ServerMetrics
from server.promotion.monitor import Monitor
from server.promotion.steps import PromotionStep, judged
from server.promotion.trial import Trial
from server.promotion.versions import Versions

log = logging.getLogger("ratchet.promotion")

_POLL_SECONDS = 1.0


class Promoter:
    """One per server process. `run` until cancelled."""

    def __init__(
        self,
        *,
        engine: Engine,
        releases: ReleaseStore,
        versions: Versions,
        trial: Trial,
        steps: Sequence[PromotionStep],
        monitor: Monitor,
        metrics: ServerMetrics,
    ) -> None:
        self._engine, self._releases, self._trial = engine, releases, trial
        self.versions, self._steps, self._monitor = versions, steps, monitor
        self._metrics = metrics

    async def run(self) -> None:
        """React to every change of the releases, and look again each second."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.versions.sync))
            tasks.create_task(self._repeat(self.judge))

    async def sync(self) -> None:
        """Follow the pointer, then judge what waits. Raises EngineError, BufferUnavailable."""
        await self.versions.sync()
        await self.judge()

    async def judge(self) -> None:
        """Watch the live version, and decide the candidates that wait, unless paused or there are
        too few queries to judge by. Raises EngineError, BufferUnavailable."""
        if await self._releases.paused() is not None or not self._trial.ready:
            return
        if await self._monitor.look(await self._releases.all()):
            self._metrics.rollbacks.inc()
            await self.versions.sync()
        for release in await self._releases.all():
            if release.state is ReleaseState.CANDIDATE and self._trial.ready:
                await self._decide(release)

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        seen = ""
        while True:
            try:
                await work()
                seen = await self._releases.wait(seen, _POLL_SECONDS)
            except BufferUnavailable as error:
                log.warning("releases unreachable: %s", error)
                await asyncio.sleep(_POLL_SECONDS)
            except EngineError as error:
                log.warning("engine unreachable: %s", error)
                await asyncio.sleep(_POLL_SECONDS)

    async def _decide(self, release: AdapterRelease) -> None:
        steps = await judged(self._steps, release)
        if steps is None:
            return
        if steps[-1].passed:
            await self._promote(release, steps)
            return
        await self._releases.reject(release.version, steps[-1].reason, steps)
        await self._engine.unload(release.folder)
        self._metrics.judged(steps, promoted=False)
        log.warning("v%d rejected: %s", release.version, steps[-1].reason)

    async def _promote(self, release: AdapterRelease, steps: Sequence[StepVerdict]) -> None:
        started = time.monotonic()
        reason = next(verdict.reason for verdict in reversed(steps) if verdict.reason)
        self.versions.hold(release)
        if not await self._releases.promote(release.version, release.parent, reason, steps):
            await self.versions.drop(release)  # another server, or a rollback, came first
            return
        self.versions.go_live(release.version)
        self._metrics.swap_seconds.labels("flip").observe(time.monotonic() - started)
        self._metrics.judged(steps, promoted=True)
        log.info("v%d is live: %s", release.version, reason)
