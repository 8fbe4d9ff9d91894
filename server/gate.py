"""The gate: may a candidate answer users? Decided without labels, on recent queries.

Guards against how label-free RL goes wrong: a base that knows too little to teach itself, answers
collapsing onto one, agreement or answers vanishing, lengths running off, drifting far from base.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rewards.ballot import Ballot
from rewards.canonical import canonical
from rewards.votes import take_vote
from server.engine import Sample


@dataclass(frozen=True, slots=True)
class PolicyStats:
    """How one policy answers a fixed set of queries.

    `agreement` and `margin` are means over queries of the winner's share and of its lead; `valid`
    is the share of rollouts with an answer; `diversity` the effective number of distinct winning
    answers (e^entropy) over the number of queries; `length` the mean tokens per rollout.
    """

    agreement: float
    margin: float
    valid: float
    diversity: float
    length: float

    @staticmethod
    def of(samples: Sequence[Sample], ballots: Sequence[Ballot]) -> "PolicyStats":
        """Measure at least one sample and its ballot; nobody answering is an answer."""
        votes = [take_vote(ballot) for ballot in ballots]
        winners = Counter("" if v.answer is None else canonical(v.answer) for v in votes)
        queries, rollouts = len(samples), sum(vote.total for vote in votes)
        entropy = -sum(n / queries * math.log(n / queries) for n in winners.values())
        return PolicyStats(
            agreement=sum(vote.agreement for vote in votes) / queries,
            margin=sum(vote.margin for vote in votes) / queries,
            valid=sum(vote.valid for vote in votes) / rollouts,
            diversity=math.exp(entropy) / queries,
            length=sum(sample.completion_tokens for sample in samples) / rollouts,
        )


@dataclass(frozen=True, slots=True)
class GateLimits:
    """The bounds; see ServerSettings for their meaning."""

    max_kl: float
    min_margin: float
    min_diversity: float
    max_drop: float
    max_stretch: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Passed or not, why, and the numbers it was decided on."""

    passed: bool
    reason: str
    numbers: dict[str, float]


def judge(
    candidate: PolicyStats, live: PolicyStats, base: PolicyStats, kl: float, limits: GateLimits
) -> Verdict:
    """Compare the three policies on the same queries; the first bound broken is the reason."""
    stretch = candidate.length / base.length if base.length else math.inf
    checks = [
        (kl <= limits.max_kl, f"KL to base {kl:.3g} above {limits.max_kl:g}"),
        (
            base.margin >= limits.min_margin,
            f"base knows too little to vote: margin {base.margin:.2f}",
        ),
        (
            candidate.diversity >= limits.min_diversity * base.diversity,
            f"answers collapse: diversity {candidate.diversity:.2f}, base {base.diversity:.2f}",
        ),
        (
            candidate.agreement >= live.agreement - limits.max_drop,
            f"agreement fell from {live.agreement:.2f} to {candidate.agreement:.2f}",
        ),
        (
            candidate.valid >= live.valid - limits.max_drop,
            f"answered share fell from {live.valid:.2f} to {candidate.valid:.2f}",
        ),
        (
            1 / limits.max_stretch <= stretch <= limits.max_stretch,
            f"mean length is {stretch:.2f} times base's",
        ),
    ]
    numbers = {
        f"gate/{who}/{name}": float(getattr(stats, name))
        for who, stats in (("candidate", candidate), ("live", live), ("base", base))
        for name in ("agreement", "margin", "valid", "diversity", "length")
    }
    broken = [reason for holds, reason in checks if not holds]
    return Verdict(not broken, broken[0] if broken else "passed", numbers)
