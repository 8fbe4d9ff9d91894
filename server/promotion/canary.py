"""The last step, where it is asked for: real traffic for a candidate, before it gets all of it."""

import asyncio
import logging
import time
from dataclasses import dataclass

from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.releases import AdapterRelease, ReleaseState, ReleaseStore
from server.policy.leases import Policy
from server.policy.limits import GateLimits
from server.policy.live_signals import LiveSignals
from server.promotion.files import orphaned

log = logging.getLogger("ratchet.promotion")

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class CanaryRules:
    """`share` of the requests, 0 for no canary; at most `seconds` to see enough of them."""

    share: float
    seconds: float


class Canary:
    """Lets a candidate answer a share of the traffic until enough is known of it."""

    def __init__(
        self,
        *,
        policy: Policy,
        releases: ReleaseStore,
        signals: LiveSignals,
        limits: GateLimits,
        rules: CanaryRules,
    ) -> None:
        self._policy, self._releases, self._signals = policy, releases, signals
        self._limits, self._rules = limits, rules

    async def judge(self, release: AdapterRelease) -> StepVerdict | None:
        version, policy = release.version, self._policy
        self._signals.forget(version, policy.live)
        policy.add(version, release.folder)
        policy.begin_canary(version, self._rules.share)
        log.info("v%d answers %.0f%% of requests", version, 100 * self._rules.share)
        try:
            verdict = await self._watch(release)
        finally:
            policy.end_canary()
        if verdict is not None and not verdict.passed:
            policy.remove(version)
            await policy.drained(version)
        return verdict

    async def _watch(self, release: AdapterRelease) -> StepVerdict | None:
        version, ends = release.version, time.monotonic() + self._rules.seconds
        while True:
            if (await self._releases.get(version)).state is not ReleaseState.CANDIDATE:
                return None  # moved by hand: there is nothing left to decide
            live = self._policy.live
            if release.parent != live:
                return orphaned(Step.CANARY, release)
            if alarm := self._signals.alarm(version, live, self._limits):
                return turned_away(Step.CANARY, alarm.cause, f"canary: {alarm.reason}")
            if self._signals.enough(version) and self._signals.enough(live):
                return StepVerdict(Step.CANARY, passed=True)
            if time.monotonic() > ends:
                reason = "canary: undecided, too few queries in time"
                return turned_away(Step.CANARY, Cause.UNDECIDED, reason)
            await asyncio.sleep(_LOOK_SECONDS)
