"""The versions that the engine holds: loads what is live on record, and unloads old versions."""

import asyncio
import logging
from collections.abc import Sequence

from adapter.store.judgement import StepVerdict
from adapter.store.releases import (
    BASE,
    CLOSED,
    AdapterRelease,
    ReleaseState,
    ReleaseStore,
    best_of,
)
from server.engine.base import Engine, EngineError
from server.metrics import ServerMetrics
from server.policy.leases import Policy
from server.promotion.steps import PromotionStep

log = logging.getLogger("ratchet.promotion")


class Versions:
    """One per server process. Another server may have judged the live version, on another engine:
    it must pass the `proof` steps here too before it is served."""

    def __init__(
        self,
        *,
        engine: Engine,
        releases: ReleaseStore,
        policy: Policy,
        proof: Sequence[PromotionStep],
        metrics: ServerMetrics,
        keep_loaded: int,
    ) -> None:
        self._engine, self._releases, self._policy = engine, releases, policy
        self._proof, self._metrics, self._keep_loaded = proof, metrics, keep_loaded
        metrics.live_version.set_function(lambda: policy.live)
        metrics.unjudged_version.set_function(lambda: policy.unjudged)
        self._draining: set[asyncio.Task[None]] = set()
        self._engine_lost = False
        self.releases: Sequence[AdapterRelease] = ()
        """All releases at the last sync."""
        self.paused: str | None = None
        """Why judging was paused then, if it was."""

    def engine_restarted(self) -> None:
        """Have the next sync load adapters that the engine may have lost."""
        self._engine_lost = True

    async def sync(self) -> None:
        """Follow the live pointer. Raises EngineError, BufferUnavailable."""
        if self._engine_lost:
            await self._restore()
        await self._follow()
        self.releases = await self._releases.all()
        self._drop_withdrawn()
        await self._keep_best()
        self.paused = await self._releases.paused()
        self._metrics.paused.set(self.paused is not None)

    def add(self, release: AdapterRelease, steps: Sequence[StepVerdict]) -> None:
        """Add a version that the engine has loaded, and whose `steps` have let it pass."""
        harmed = any(verdict.harmed for verdict in steps)
        self._policy.add(release.version, release.folder, harmed=harmed)

    def go_live(self, version: int) -> None:
        """Serve a loaded version, and unload the oldest ones beyond `keep_loaded`."""
        self._policy.switch(version)
        self._metrics.recorded_version.set(version)
        in_use = (BASE, self._policy.live, self._policy.canary)
        adapters = [v for v in self._policy.loaded if v not in in_use]
        adapters.sort(key=lambda v: (v == self._policy.best, v))  # the best one goes last
        for old in adapters[: max(0, len(adapters) + 1 - self._keep_loaded)]:
            self._drain(old)

    async def drop(self, release: AdapterRelease) -> None:
        """Remove a candidate that is not served here, unless it has gone live after all."""
        if release.version in self._policy.loaded and release.version != self._policy.live:
            self._policy.remove(release.version)
        if (await self._releases.get(release.version)).state in CLOSED:
            await self._engine.unload(release.folder)

    async def drained(self) -> None:
        """Wait until every version that is no longer needed is unloaded."""
        while self._draining:
            await asyncio.wait(self._draining)

    async def _restore(self) -> None:
        """Load the adapters that a restarted engine has lost."""
        present = await self._engine.models()
        for version in self._policy.loaded:
            if self._policy.engine_name(version) not in present:
                release = await self._releases.get(version)
                if release.state is not ReleaseState.WITHDRAWN:  # else its folder is gone
                    await self._load(release)
        self._engine_lost = False

    async def _follow(self) -> None:
        """Serve the version that is live on record."""
        live = await self._releases.live()
        self._metrics.recorded_version.set(live)
        if live not in self._policy.loaded:
            await self._load(await self._releases.get(live))
        if live in self._policy.loaded and live != self._policy.live:
            self.go_live(live)

    async def _load(self, release: AdapterRelease) -> None:
        """Load a version, unless it fails a step: then an error is logged."""
        for step in self._proof:
            verdict = await step.judge(release)
            if verdict is not None and not verdict.passed:
                await self._engine.unload(release.folder)
                log.error("v%d cannot be served: %s", release.version, verdict.reason)
                return
        self.add(release, release.steps)

    async def _keep_best(self) -> None:
        """Have trials compare with the best version so far, if the engine holds it or has room."""
        known = {release.version: release for release in self.releases}
        policy = self._policy
        best = best_of(policy.live, known)
        if best not in policy.loaded and len(policy.loaded) - 1 < self._keep_loaded:
            await self._load(known[best])
        policy.best = best if best in policy.loaded else BASE

    def _drop_withdrawn(self) -> None:
        """Stop offering withdrawn versions, even to requests that pin one."""
        withdrawn = {r.version for r in self.releases if r.state is ReleaseState.WITHDRAWN}
        for version in self._policy.loaded:
            if version in withdrawn and version != self._policy.live:
                self._drain(version)

    def _drain(self, version: int) -> None:
        task = asyncio.create_task(self._unload(version, self._policy.remove(version)))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def _unload(self, version: int, engine_name: str) -> None:
        await self._policy.drained(version)
        try:
            await self._engine.unload(engine_name)
        except EngineError as error:
            log.warning("could not unload %s: %s", engine_name, error)
