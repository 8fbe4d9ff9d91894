"""A candidate that has passed its trial and answers a share of the traffic before all of it."""

import time
from dataclasses import dataclass

from adapter.store.releases import AdapterRelease
from server.policy.limits import Verdict


@dataclass(frozen=True, slots=True)
class CanaryRules:
    """`share` of the requests, 0 for no canary; at most `seconds` to see enough of them."""

    share: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Canary:
    """One candidate under way: its verdict so far, stage timings, and when it began (monotonic)."""

    release: AdapterRelease
    verdict: Verdict
    seconds: dict[str, float]
    started: float

    def expired(self, rules: CanaryRules) -> bool:
        """Whether its time is over."""
        return time.monotonic() - self.started > rules.seconds
