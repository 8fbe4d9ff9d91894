"""Brings candidates to life, or turns them away: load, parity, gate, flip, drain, unload.

Also follows the live pointer when something else moves it: another server, or a rollback.
"""

import asyncio
import logging
import time

from adapter.adapter_folders import AdapterFolders, ReleaseCorrupt
from adapter.buffer import BufferUnavailable
from adapter.probe_sheet import ProbeSheet
from adapter.releases import BASE, AdapterRelease, ReleaseState, ReleaseStore
from server.engine import Engine, EngineError, EngineRefused
from server.gate import GateLimits, Verdict, judge
from server.metrics import ServerMetrics
from server.parity import probe_parity
from server.policy import Policy
from server.probe_set import ProbeSet

log = logging.getLogger("ratchet.promotion")

_POLL_SECONDS = 1.0


class Promoter:
    """One per server process. `run` until cancelled."""

    def __init__(
        self,
        engine: Engine,
        releases: ReleaseStore,
        folders: AdapterFolders,
        policy: Policy,
        probes: ProbeSet,
        limits: GateLimits,
        metrics: ServerMetrics,
        *,
        parity_tolerance: float,
        keep_loaded: int,
    ) -> None:
        self._engine, self._releases, self._folders = engine, releases, folders
        self._policy, self._probes, self._limits = policy, probes, limits
        self._metrics = metrics
        self._parity_tolerance, self._keep_loaded = parity_tolerance, keep_loaded
        self._draining: set[asyncio.Task[None]] = set()
        self._engine_lost = False

    async def run(self) -> None:
        """React to every change of the releases, and look again each second."""
        seen = ""
        while True:
            try:
                await self.sync()
                seen = await self._releases.wait(seen, _POLL_SECONDS)
            except BufferUnavailable as error:
                log.warning("releases unreachable: %s", error)
                await asyncio.sleep(_POLL_SECONDS)
            except EngineError as error:
                log.warning("engine unreachable: %s", error)
                await asyncio.sleep(_POLL_SECONDS)

    def engine_restarted(self) -> None:
        """The engine was away and may have lost its adapters: check before anything else."""
        self._engine_lost = True

    async def sync(self) -> None:
        """Follow the live pointer, then judge what waits. Raises EngineError, BufferUnavailable."""
        if self._engine_lost:
            await self._restore()
        live = await self._releases.live()
        if live != self._policy.live:
            await self._follow(live)
        self._metrics.live_version.set(self._policy.live)
        if await self._releases.paused() is not None:
            return
        for release in await self._releases.all():
            if release.state is ReleaseState.CANDIDATE:
                await self._judge(release)
        self._metrics.live_version.set(self._policy.live)

    async def _restore(self) -> None:
        """Load again whatever a restarted engine has forgotten."""
        present = await self._engine.models()
        for version in self._policy.loaded:
            if self._policy.engine_name(version) in present:
                continue
            try:
                await self._load(await self._releases.get(version))
            except ReleaseCorrupt as error:
                log.error("v%d cannot be loaded again: %s", version, error)
        self._engine_lost = False

    async def _follow(self, live: int) -> None:
        """Serve what the pointer says, however it came there."""
        if live not in self._policy.loaded:
            try:
                await self._load(await self._releases.get(live))
            except ReleaseCorrupt as error:
                log.error("v%d is live on record but cannot be served: %s", live, error)
                return
        self._policy.switch(live)
        self._drain_old()

    async def _load(self, release: AdapterRelease) -> None:
        """Another server may have judged it, on another engine: ours must prove itself too."""
        folder = await asyncio.to_thread(self._folders.verified, release)
        try:
            await self._engine.load(release.folder, str(folder))
            parity = await probe_parity(self._engine, release.folder, ProbeSheet.read(folder))
            fault = parity.fault(self._parity_tolerance)
        except (EngineRefused, OSError, ValueError, TypeError) as error:
            fault = f"unusable: {error}"
        if fault:
            await self._engine.unload(release.folder)
            raise ReleaseCorrupt(f"{release.folder}: {fault}")
        self._policy.add(release.version, release.folder)

    async def _judge(self, release: AdapterRelease) -> None:
        """Decide one candidate, or leave it for later while there are too few queries to judge."""
        if not self._probes.ready:
            return
        seconds: dict[str, float] = {"wait": max(0.0, time.time() - release.created_at)}
        if release.parent != self._policy.live:  # a rollback must take its descendants along
            gone = f"its parent v{release.parent} is no longer live"
            await self._reject(release, Verdict(False, gone, {}), seconds)
            return
        started = time.monotonic()
        try:
            folder = await asyncio.to_thread(self._folders.verified, release)
            sheet = ProbeSheet.read(folder)
            await self._engine.load(release.folder, str(folder))
            started = _lap(seconds, "load", started)
            parity = await probe_parity(self._engine, release.folder, sheet)
            started = _lap(seconds, "parity", started)
        except (ReleaseCorrupt, EngineRefused, OSError, ValueError, TypeError) as error:
            await self._reject(release, Verdict(False, f"unusable: {error}", {}), seconds)
            return
        numbers = {
            "parity/to_trainer": parity.to_trainer,
            "parity/to_base": parity.to_base,
            "parity/worst": parity.worst,
        }
        if fault := parity.fault(self._parity_tolerance):
            await self._reject(release, Verdict(False, fault, numbers), seconds)
            return
        verdict = await self._compare(release)
        started = _lap(seconds, "gate", started)
        verdict = Verdict(verdict.passed, verdict.reason, {**numbers, **verdict.numbers})
        if verdict.passed:
            await self._promote(release, verdict, seconds, started)
        else:
            await self._reject(release, verdict, seconds)

    async def _compare(self, release: AdapterRelease) -> Verdict:
        self._probes.begin()
        base = await self._probes.stats(self._policy.engine_name(BASE))
        live = await self._probes.stats(self._policy.engine_name(self._policy.live))
        candidate = await self._probes.stats(release.folder)
        kl = release.metrics.get("kl", float("nan"))
        return judge(candidate, live, base, kl, self._limits)

    async def _promote(
        self,
        release: AdapterRelease,
        verdict: Verdict,
        seconds: dict[str, float],
        started: float,
    ) -> None:
        self._policy.add(release.version, release.folder)
        seconds["total"] = max(0.0, time.time() - release.created_at)
        moved = await self._releases.promote(
            release.version, release.parent, verdict.reason, _record(verdict, seconds)
        )
        if not moved:  # another server judged it first, or a rollback came between: follow that
            self._policy.remove(release.version)
            return
        self._policy.switch(release.version)
        _lap(seconds, "flip", started)
        self._drain_old()
        self._count("promoted", seconds)
        log.info("v%d is live after %.2f s", release.version, seconds["total"])

    async def _reject(
        self, release: AdapterRelease, verdict: Verdict, seconds: dict[str, float]
    ) -> None:
        await self._releases.reject(release.version, verdict.reason, _record(verdict, seconds))
        await self._engine.unload(release.folder)
        self._count("rejected", seconds)
        log.warning("v%d rejected: %s", release.version, verdict.reason)

    def _drain_old(self) -> None:
        """Take the oldest versions off the list and unload each once its last request has ended."""
        adapters = [v for v in self._policy.loaded if v not in (BASE, self._policy.live)]
        for version in adapters[: max(0, len(adapters) + 1 - self._keep_loaded)]:
            task = asyncio.create_task(self._unload(version, self._policy.remove(version)))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    async def _unload(self, version: int, engine_name: str) -> None:
        await self._policy.drained(version)
        try:
            await self._engine.unload(engine_name)
        except EngineError as error:
            log.warning("could not unload %s: %s", engine_name, error)

    def _count(self, verdict: str, seconds: dict[str, float]) -> None:
        self._metrics.verdicts.labels(verdict).inc()
        for stage, value in seconds.items():
            self._metrics.swap_seconds.labels(stage).observe(value)


def _lap(seconds: dict[str, float], stage: str, started: float) -> float:
    now = time.monotonic()
    seconds[stage] = now - started
    return now


def _record(verdict: Verdict, seconds: dict[str, float]) -> dict[str, float]:
    return {**verdict.numbers, **{f"seconds/{stage}": value for stage, value in seconds.items()}}
