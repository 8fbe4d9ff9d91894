"""The alarms: numbers that reject a candidate, or have the live version compared again.

They guard against how label-free RL goes wrong: a base that knows too little to teach itself, drift
far from base, answers that collapse onto one, falling agreement, missing answers, runaway lengths.
"""

import math
from dataclasses import dataclass

from adapter.store.judgement import Cause
from server.policy.stats import PolicyStats


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLimits:
    """The bounds; see ServerSettings for their meaning."""

    max_kl: float
    min_margin: float
    min_diversity: float
    max_drop: float
    max_stretch: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """One reason, enough on its own to reject a version."""

    cause: Cause
    reason: str


def learning_alarm(base: PolicyStats, kl: float, limits: GateLimits) -> Alarm | None:
    """The alarm if learning cannot be trusted here: by a candidate's distance from base, `kl` in
    nats per token, or by how `base` votes."""
    if not kl <= limits.max_kl:  # NaN breaks it too
        return Alarm(Cause.FAR_FROM_BASE, f"KL to base {kl:.3g} above {limits.max_kl:g}")
    if not base.margin >= limits.min_margin:
        reason = f"base knows too little to vote: margin {base.margin:.2f}"
        return Alarm(Cause.IGNORANT_BASE, reason)
    return None


def change_alarm(
    now: PolicyStats, before: PolicyStats, limits: GateLimits, anchor: PolicyStats | None = None
) -> Alarm | None:
    """The alarm if answers look worse than `before`. Diversity and length are compared with
    `anchor` where it is given."""
    anchor = anchor or before
    stretch = now.length / anchor.length if anchor.length else math.inf
    if not now.diversity >= limits.min_diversity * anchor.diversity:
        reason = f"answers collapse: diversity {now.diversity:.2f}, was {anchor.diversity:.2f}"
        return Alarm(Cause.COLLAPSE, reason)
    if not now.agreement >= before.agreement - limits.max_drop:
        reason = f"agreement fell from {before.agreement:.2f} to {now.agreement:.2f}"
        return Alarm(Cause.AGREEMENT, reason)
    if not now.valid >= before.valid - limits.max_drop:
        reason = f"answered share fell from {before.valid:.2f} to {now.valid:.2f}"
        return Alarm(Cause.ANSWERED_SHARE, reason)
    if not 1 / limits.max_stretch <= stretch <= limits.max_stretch:
        return Alarm(Cause.LENGTH, f"mean length is {stretch:.2f} times what it was")
    return None
