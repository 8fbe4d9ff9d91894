"""Watches the live version on real traffic, and rolls back if it turns out worse.

Two watches. The standing comparison adds up, over all trials, how the live versions since the best
one compare with it: a lineage that is proven to be worse goes back to the best version. And live
signals raise an alarm, which is no more, since they change with the traffic too: then the version
is compared side by side with its parent and the best version on the newest queries, as in the
trial, and only a proven difference rolls back.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
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
        if await self._has_drifted(live):
            return True
        self.signals.keep({live, parent})
        alarm = self.signals.alarm(live, parent, self.trial.rules.limits)
        versions = {"parent": parent, "best": policy.best}
        others = {r: v for r, v in versions.items() if v in policy.loaded and v != live}
        if alarm is None or not others:
            return False
        log.warning("v%d on live traffic: %s; comparing it side by side", live, alarm.reason)
        self.trial.probes.refresh()
        with ExitStack() as held:
            for version in (live, *others.values()):
                held.enter_context(policy.hold(version))
            names = {role: policy.engine_name(version) for role, version in others.items()}
            verdict = await self.trial.compare(policy.engine_name(live), names, kl=None)
        if verdict.passed or verdict.cause is Cause.UNDECIDED:
            log.info("v%d stays: %s", live, verdict.reason)
            self.signals.accept(live, parent)
            return False
        target = others.get(verdict.reference, next(iter(others.values())))
        found = f"{alarm.reason}; side by side: {verdict.reason}"
        return await self._go_back(target, live, found, replace(verdict, step=Step.MONITOR))

    async def _has_drifted(self, live: int) -> bool:
        """Whether the lineage is proven worse than its best version, and that is live again."""
        standing, policy = self.trial.standing, self.policy
        pair = policy.engine_name(live), policy.engine_name(policy.best)
        if not standing.worse or standing.pair != pair or policy.best == live:
            return False
        mean, count = standing.moments.mean, standing.moments.count
        found = f"worse than the best version: {mean:+.3f} over {count} queries of its trials"
        numbers = {"mean": mean, "queries": float(count), "best": float(policy.best)}
        verdict = turned_away(Step.MONITOR, Cause.WORSE, found, numbers, reference="best")
        return await self._go_back(policy.best, live, found, verdict)

    async def _go_back(self, target: int, live: int, found: str, verdict: StepVerdict) -> bool:
        reason = f"automatic rollback from v{live}: {found}"
        moved = await self.releases.promote(target, live, reason, [verdict])
        if moved:
            log.error("v%d is live again: %s", target, reason)
            self.signals.forget(live, target)
        return moved
