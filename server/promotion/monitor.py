"""Watches the live version on real traffic, and takes it back when it turns out worse.

Live signals move with the traffic too, so they only raise the question. It is answered as at the
gate: the version and its parent are sampled side by side on the newest queries, and only a proven
difference brings the parent back.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from adapter.store.judgement import Cause, Step
from adapter.store.releases import AdapterRelease, ReleaseStore
from server.policy.leases import Policy
from server.policy.limits import GateLimits
from server.policy.live_signals import LiveSignals
from server.promotion.trial import Trial

log = logging.getLogger("ratchet.promotion")


class Monitor:
    """Asked by the promoter now and then."""

    def __init__(
        self,
        *,
        signals: LiveSignals,
        trial: Trial,
        releases: ReleaseStore,
        policy: Policy,
        limits: GateLimits,
    ) -> None:
        self._signals, self._trial, self._releases = signals, trial, releases
        self._policy, self._limits = policy, limits

    async def look(self, releases: Sequence[AdapterRelease]) -> bool:
        """True if the live pointer was moved back. Raises EngineError, BufferUnavailable."""
        live = self._policy.live
        parent = next((r.parent for r in releases if r.version == live), None)
        if parent is None or not self._trial.ready:
            return False
        self._signals.keep({live, parent})
        alarm = self._signals.alarm(live, parent, self._limits)
        if alarm is None or parent not in self._policy.loaded:
            return False
        turned = alarm.reason
        log.warning("v%d on live traffic: %s; comparing it with v%d again", live, turned, parent)
        self._trial.refresh()
        names = self._policy.engine_name(live), self._policy.engine_name(parent)
        with self._policy.hold(live), self._policy.hold(parent):
            verdict = await self._trial.compare(*names, kl=None)
        if verdict.passed or verdict.cause is Cause.UNDECIDED:
            log.info("v%d stays: %s", live, verdict.reason)
            self._signals.accept(live, parent)
            return False
        reason = f"automatic rollback from v{live}: {turned}; side by side: {verdict.reason}"
        steps = [replace(verdict, step=Step.MONITOR)]
        moved = await self._releases.promote(parent, live, reason, steps)
        if moved:
            log.error("v%d is live again: %s", parent, reason)
            self._signals.forget(live, parent)
        return moved
