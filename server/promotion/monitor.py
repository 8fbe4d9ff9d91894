"""Watches the live version on real traffic, and rolls back if it turns out worse.

Live signals change with the traffic too, so they only raise an alarm. Then the version and its
parent are compared side by side on the newest queries, as in the trial, and only a proven
difference brings the parent back.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapter.store.judgement import Cause, Step
from adapter.store.releases import AdapterRelease, ReleaseStore
from server.policy.leases import Policy
from server.policy.live_signals import LiveSignals
from server.promotion.trial import Trial

log = logging.getLogger("ratchet.promotion")


@dataclass(frozen=True, slots=True)
class Monitor:
    """Called by the promoter now and then."""

    policy: Policy
    releases: ReleaseStore
    signals: LiveSignals
    trial: Trial

    async def check(self, releases: Sequence[AdapterRelease]) -> bool:
        """Whether the live pointer was moved back. Raises EngineError, BufferUnavailable."""
        live, policy = self.policy.live, self.policy
        parent = next((r.parent for r in releases if r.version == live), None)
        if parent is None or not self.trial.ready:
            return False
        self.signals.keep({live, parent})
        alarm = self.signals.alarm(live, parent, self.trial.rules.limits)
        if alarm is None or parent not in policy.loaded:
            return False
        log.warning("v%d on live traffic: %s; comparing it with v%d", live, alarm.reason, parent)
        self.trial.probes.refresh()
        with policy.hold(live), policy.hold(parent):
            names = policy.engine_name(live), policy.engine_name(parent)
            verdict = await self.trial.compare(names[0], {"parent": names[1]}, kl=None)
        if verdict.passed or verdict.cause is Cause.UNDECIDED:
            log.info("v%d stays: %s", live, verdict.reason)
            self.signals.accept(live, parent)
            return False
        found = f"{alarm.reason}; side by side: {verdict.reason}"
        reason = f"automatic rollback from v{live}: {found}"
        steps = [replace(verdict, step=Step.MONITOR)]
        moved = await self.releases.promote(parent, live, reason, steps)
        if moved:
            log.error("v%d is live again: %s", parent, reason)
            self.signals.forget(live, parent)
        return moved
