"""Tests whether a candidate is proven not to be worse, at a few looks that are planned, and whether
it is proven to be worse, at any.

The pass is a group-sequential test of the mean: at each planned look its lower bound must clear the
margin, with bounds wide enough that all looks together keep alpha (Wang and Tsiatis, "Approximately
optimal one-parameter boundaries for group sequential trials", Biometrics 43, 1987). The
failure is a bet, valid however often it is read (Waudby-Smith and Ramdas, "Estimating means of
bounded random variables by betting", arXiv 2010.09686): if the claim is true, its wealth reaches
1/alpha with a probability of alpha at most, whenever one stops (Ville's inequality).
"""

import math
from dataclasses import dataclass
from enum import StrEnum

_WIDEST, _SHAPE = 1.83, 0.3
"""Standard errors below the mean of a 95% bound at the last planned look; at the others it is wider
by share^-_SHAPE. tests/unit/server/promotion/decision/test_sequential_test.py simulates it."""
_CAUTION = 0.9
"""Share of the largest stake that may be bet: the worst difference must not ruin the bettor."""


class Proof(StrEnum):
    UNDECIDED = "undecided"
    NOT_WORSE = "not worse"
    WORSE = "worse"


@dataclass(slots=True)
class Moments:
    """Running mean of values in [-1, 1], and its standard error. The error counts one value of 1
    and one of -1 that were not seen: few equal values prove little."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Add an observation."""
        self.count += 1
        self.total += value
        self.squares += value * value

    @property
    def mean(self) -> float:
        """Mean so far; 0 before the first."""
        return self.total / self.count if self.count else 0.0

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        count = self.count + 2
        mean = self.total / count
        return math.sqrt(((self.squares + 2) / count - mean * mean) / count)


class SequentialTest:
    """Differences (candidate - reference) come one by one with `add`.

    NOT_WORSE: "the mean is -margin or less" is refuted at 5%, the chance of passing a candidate
    that is worse by more than the margin; only by `look`. WORSE: "the mean is 0 or more" is refuted
    at `alpha_worse`, the chance of rejecting one that is no worse at all. The first proof stands.
    """

    def __init__(self, margin: float, alpha_worse: float = 0.01) -> None:
        self._margin, self._needed = margin, math.inf
        self._fail = Bet(alpha_worse)
        self.moments = Moments()
        self.proof = Proof.UNDECIDED

    @property
    def mean(self) -> float:
        """Mean difference so far; 0 before the first."""
        return self.moments.mean

    @property
    def count(self) -> int:
        """Differences so far."""
        return self.moments.count

    @property
    def sure(self) -> float:
        """Standard errors by which the mean is above -margin."""
        return (self.mean + self._margin) / self.moments.error

    def add(self, difference: float) -> None:
        """Add an observation. Raises ValueError outside [-1, 1]."""
        if not -1.0 <= difference <= 1.0:
            raise ValueError(f"a difference of {difference} is not in [-1, 1]")
        self.moments.add(difference)
        self._fail.stake(-difference)
        if self.proof is Proof.UNDECIDED and self._fail.won:
            self.proof = Proof.WORSE

    def look(self, share: float) -> None:
        """Hold a planned look (schedule.py), after this share of all differences."""
        self._needed = needed(share)
        if self.proof is Proof.UNDECIDED and self.sure > self._needed:
            self.proof = Proof.NOT_WORSE

    def numbers(self) -> dict[str, float]:
        """The evidence so far: `sure` is in standard errors, of those `needed` at the last look;
        `evidence_worse` is ln(wealth) / ln(1/alpha), and 1 decides."""
        return {
            "mean": self.mean,
            "error": self.moments.error,
            "queries": float(self.count),
            "margin": self._margin,
            "sure": self.sure,
            "needed": self._needed,
            "evidence_worse": self._fail.log_wealth / self._fail.goal,
        }


def needed(share: float) -> float:
    """Standard errors between mean and -margin that pass at a look after this share of all."""
    return _WIDEST * min(1.0, share) ** -_SHAPE


class Bet:
    """A bet against "the mean of x is 0 or less", x in [-1, 1].

    The stake is the one that would have grown wealth fastest on earlier values, mean / (variance +
    mean^2), with a few made-up values to begin with; it never depends on the value it bets on.
    """

    def __init__(self, alpha: float) -> None:
        self.goal = -math.log(alpha)
        self._count, self._sum, self._squares = 8.0, 8.0 * 0.05, 8.0 * (0.02 + 0.05**2)
        self.log_wealth = 0.0
        self.won = False

    def stake(self, x: float) -> None:
        """Bet on the next value."""
        mean = self._sum / self._count
        variance = max(self._squares / self._count - mean**2, 1e-4)
        fraction = max(0.0, min(mean / (variance + mean**2), _CAUTION))
        self.log_wealth += math.log1p(fraction * x)
        self.won = self.won or self.log_wealth >= self.goal
        self._count += 1
        self._sum += x
        self._squares += x * x
