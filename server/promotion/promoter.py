"""Brings candidates to life, or turns them away: load, parity, trial, canary, flip, drain, unload.

Also follows the live pointer when something else moves it: another server, or a rollback.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from adapter.store.adapter_folders import AdapterFolders, ReleaseCorrupt
from adapter.store.buffer import BufferUnavailable
from adapter.store.probe_sheet import ProbeSheet
from adapter.store.releases import BASE, CLOSED, AdapterRelease, ReleaseState, ReleaseStore
from server.engine.base import Engine, EngineError, EngineRefused
from server.metrics import ServerMetrics
from server.policy.leases import Policy
from server.policy.limits import GateLimits, Verdict
from server.policy.live_signals import LiveSignals
from server.promotion.canary import Canary, CanaryRules
from server.promotion.monitor import Monitor
from server.promotion.parity import probe_parity
from server.promotion.trial import Trial

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
        trial: Trial,
        signals: LiveSignals,
        limits: GateLimits,
        canary: CanaryRules,
        metrics: ServerMetrics,
        *,
        parity_tolerance: float,
        keep_loaded: int,
    ) -> None:
        self._engine, self._releases, self._folders = engine, releases, folders
        self._policy, self._trial, self._signals = policy, trial, signals
        self._limits, self._canary_rules, self._metrics = limits, canary, metrics
        self._vigil = Monitor(signals, trial, releases, policy, limits)
        self._canary: Canary | None = None
        self._parity_tolerance, self._keep_loaded = parity_tolerance, keep_loaded
        self._draining: set[asyncio.Task[None]] = set()
        self._engine_lost = False
        self.releases: Sequence[AdapterRelease] = ()
        """All there were when last looked."""
        self.paused: str | None = None
        """Why candidates waited then, if they did."""

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
        """Follow the live pointer, look after it, judge what waits.

        Raises EngineError, BufferUnavailable.
        """
        if self._engine_lost:
            await self._restore()
        await self._follow()
        releases = self.releases = await self._releases.all()
        self._drop_withdrawn(releases)
        self.paused = await self._releases.paused()
        self._metrics.paused.set(self.paused is not None)
        if self.paused is not None:
            return
        if self._canary is not None:
            await self._review(self._canary, releases)
        elif await self._vigil.look(releases):
            self._metrics.rollbacks.inc()
            await self._follow()
        for release in await self._releases.all():
            if release.state is ReleaseState.CANDIDATE and self._canary is None:
                await self._judge(release)

    async def _restore(self) -> None:
        """Load again whatever a restarted engine has forgotten."""
        present = await self._engine.models()
        for version in self._policy.loaded:
            if self._policy.engine_name(version) in present:
                continue
            try:
                release = await self._releases.get(version)
                if release.state is not ReleaseState.WITHDRAWN:  # else its folder is gone
                    await self._load(release)
            except ReleaseCorrupt as error:
                log.error("v%d cannot be loaded again: %s", version, error)
        self._engine_lost = False

    async def _follow(self) -> None:
        """Serve what the pointer says, however it came there."""
        live = await self._releases.live()
        self._metrics.recorded_version.set(live)
        self._metrics.live_version.set(self._policy.live)
        if live != self._policy.live and live not in self._policy.loaded:
            try:
                await self._load(await self._releases.get(live))
            except (ReleaseCorrupt, EngineRefused) as error:
                log.error("v%d is live on record but cannot be served: %s", live, error)
                return
        if live != self._policy.live:
            self._policy.switch(live)
            self._metrics.live_version.set(live)
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
        if not self._trial.ready:
            return
        seconds: dict[str, float] = {"wait": max(0.0, time.time() - release.created_at)}
        if await self._orphaned(release, seconds):
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
            verdict = Verdict(False, f"unusable: {error}", {})
            await self._reject(release, verdict, seconds, "files")
            return
        except EngineError as error:
            await self._engine.probe()  # if that fails as well, it is not for this candidate
            verdict = Verdict(False, f"unusable: {error}", {})
            await self._reject(release, verdict, seconds, "files")
            return
        numbers = {
            "parity/to_trainer": parity.to_trainer,
            "parity/to_base": parity.to_base,
            "parity/worst": parity.worst,
        }
        if fault := parity.fault(self._parity_tolerance):
            await self._reject(release, Verdict(False, fault, numbers), seconds, "parity")
            return
        parent = self._policy.engine_name(self._policy.live)
        kl = release.metrics.get("kl", float("nan"))
        verdict = await self._trial.judge(release.folder, parent, kl)
        started = _lap(seconds, "gate", started)
        verdict = Verdict(verdict.passed, verdict.reason, {**numbers, **verdict.numbers})
        if not verdict.passed:
            await self._reject(release, verdict, seconds, "trial")
        elif self._canary_rules.share:
            self._begin_canary(Canary(release, verdict, seconds, started))
        else:
            await self._promote(release, verdict, seconds, started, "trial")

    async def _orphaned(self, release: AdapterRelease, seconds: dict[str, float]) -> bool:
        """Turn away what descends from a version no longer live: a rollback takes it along."""
        if release.parent == self._policy.live:
            return False
        gone = f"its parent v{release.parent} is no longer live"
        await self._reject(release, Verdict(False, gone, {}), seconds, "lineage")
        return True

    def _begin_canary(self, canary: Canary) -> None:
        version = canary.release.version
        self._policy.add(version, canary.release.folder)
        self._signals.forget(version, self._policy.live)
        self._policy.begin_canary(version, self._canary_rules.share)
        self._canary = canary
        log.info("v%d answers %.0f%% of requests", version, 100 * self._canary_rules.share)

    async def _review(self, canary: Canary, releases: Sequence[AdapterRelease]) -> None:
        """Has the canary seen enough to be promoted, or turned away?"""
        release, live = canary.release, self._policy.live
        state = next((r.state for r in releases if r.version == release.version), None)
        turned = self._signals.turned(release.version, live, self._limits)
        seen = self._signals.enough(release.version) and self._signals.enough(live)
        orphaned = release.parent != live or state is not ReleaseState.CANDIDATE
        if not (seen or orphaned or canary.expired(self._canary_rules)):
            return
        self._policy.end_canary()
        self._canary = None
        if state is not ReleaseState.CANDIDATE:  # moved by hand: there is nothing left to decide
            return
        _lap(canary.seconds, "canary", canary.started)
        if seen and turned is None and release.parent == live:
            verdict, now = canary.verdict, time.monotonic()
            await self._promote(release, verdict, canary.seconds, now, "canary")
            return
        self._policy.remove(release.version)
        await self._policy.drained(release.version)
        if not await self._orphaned(release, canary.seconds):
            reason = f"canary: {turned or 'undecided, too few queries in time'}"
            verdict = Verdict(False, reason, canary.verdict.numbers)
            await self._reject(release, verdict, canary.seconds, "canary")

    async def _promote(
        self,
        release: AdapterRelease,
        verdict: Verdict,
        seconds: dict[str, float],
        started: float,
        step: str,
    ) -> None:
        self._policy.add(release.version, release.folder)
        seconds["total"] = max(0.0, time.time() - release.created_at)
        moved = await self._releases.promote(
            release.version, release.parent, verdict.reason, _record(verdict, seconds)
        )
        if not moved:  # another server judged it first, or a rollback came between: follow that
            self._policy.remove(release.version)
            if (await self._releases.get(release.version)).state in CLOSED:
                await self._engine.unload(release.folder)
            return
        self._policy.switch(release.version)
        self._metrics.recorded_version.set(release.version)
        self._metrics.live_version.set(release.version)
        _lap(seconds, "flip", started)
        self._drain_old()
        self._metrics.judged("promoted", step, seconds, verdict.numbers)
        log.info("v%d is live after %.2f s", release.version, seconds["total"])

    async def _reject(
        self, release: AdapterRelease, verdict: Verdict, seconds: dict[str, float], step: str
    ) -> None:
        await self._releases.reject(release.version, verdict.reason, _record(verdict, seconds))
        await self._engine.unload(release.folder)
        self._metrics.judged("rejected", step, seconds, verdict.numbers)
        log.warning("v%d rejected: %s", release.version, verdict.reason)

    def _drain_old(self) -> None:
        """Take the oldest versions off the list and unload each once its last request has ended."""
        in_use = (BASE, self._policy.live, self._policy.canary)
        adapters = [v for v in self._policy.loaded if v not in in_use]
        for version in adapters[: max(0, len(adapters) + 1 - self._keep_loaded)]:
            self._drain(version)

    def _drop_withdrawn(self, releases: Sequence[AdapterRelease]) -> None:
        """Offer no version any more that has been withdrawn, not even to who asks for it."""
        withdrawn = {r.version for r in releases if r.state is ReleaseState.WITHDRAWN}
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


def _lap(seconds: dict[str, float], stage: str, started: float) -> float:
    now = time.monotonic()
    seconds[stage] = now - started
    return now


def _record(verdict: Verdict, seconds: dict[str, float]) -> dict[str, float]:
    return {**verdict.numbers, **{f"seconds/{stage}": value for stage, value in seconds.items()}}
