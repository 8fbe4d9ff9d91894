"""The last step, if the operator wants it: a candidate answers a share of the real traffic."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass

from adapter.store.buffer import BufferUnavailable
from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.releases import AdapterRelease, ReleaseState, ReleaseStore
from server.policy.leases import Policy
from server.policy.limits import GateLimits
from server.policy.live_signals import LiveSignals
from server.promotion.files import parent_not_live

log = logging.getLogger("ratchet.promotion")

_CHECK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class CanaryRules:
    """`share` of the requests, at most `seconds` to answer enough of them, the alarms' bounds."""

    share: float
    seconds: float
    limits: GateLimits


@dataclass(frozen=True, slots=True)
class Canary:
    """Has a candidate answer a share of the traffic until its answers are enough to judge by."""

    policy: Policy
    releases: ReleaseStore
    signals: LiveSignals
    rules: CanaryRules

    async def judge(self, release: AdapterRelease) -> StepVerdict | None:
        version, policy = release.version, self.policy
        self.signals.forget(version, policy.live)
        policy.add(version, release.folder)
        policy.begin_canary(version, self.rules.share)
        log.info("v%d answers %.0f%% of requests", version, 100 * self.rules.share)
        try:
            verdict = await self._watch(release)
        finally:
            policy.end_canary()
        if verdict is not None and not verdict.passed:
            policy.remove(version)
            await policy.drained(version)
        return verdict

    async def _watch(self, release: AdapterRelease) -> StepVerdict | None:
        version, ends = release.version, time.monotonic() + self.rules.seconds
        while True:
            with suppress(BufferUnavailable):  # Redis away is no reason to begin anew
                if (await self.releases.get(version)).state is not ReleaseState.CANDIDATE:
                    return None  # moved by hand: there is nothing left to decide
            live = self.policy.live
            if release.parent != live:
                return parent_not_live(Step.CANARY, release)
            if alarm := self.signals.alarm(version, live, self.rules.limits):
                return turned_away(Step.CANARY, alarm.cause, f"canary: {alarm.reason}")
            if self.signals.enough(version) and self.signals.enough(live):
                return StepVerdict(Step.CANARY, passed=True)
            if time.monotonic() > ends:
                reason = "canary: undecided, too few queries in time"
                return turned_away(Step.CANARY, Cause.UNDECIDED, reason)
            await asyncio.sleep(_CHECK_SECONDS)
