"""Tests whether a candidate is proven not to be worse; valid however often the result is read.

Two bets run side by side, each against one claim about the mean of differences in [-1, 1]
(Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", arXiv
2010.09686). If the claim is true, the bet's wealth reaches 1/alpha with a probability of alpha at
most, whenever one stops (Ville's inequality).
"""

import math
from enum import StrEnum

_CAUTION = 0.9
"""Share of the largest stake that may be bet: the worst difference must not ruin the bettor."""


class Decision(StrEnum):
    UNDECIDED = "undecided"
    NOT_WORSE = "not worse"
    WORSE = "worse"


class SequentialTest:
    """Differences (candidate - reference) come one by one with `add`.

    NOT_WORSE: "the mean is -margin or less" is refuted at `alpha`, the chance of passing a
    candidate that is worse by more than the margin. WORSE: "the mean is 0 or more" is refuted at
    `alpha_worse`, the chance of rejecting one that is no worse at all. The first decision stands.
    """

    def __init__(self, margin: float, alpha: float = 0.05, alpha_worse: float = 0.02) -> None:
        self._pass, self._fail = _Bet(margin, alpha), _Bet(0.0, alpha_worse)
        self.decision = Decision.UNDECIDED
        self.count = 0
        self._sum = 0.0

    @property
    def mean(self) -> float:
        """Mean difference so far; 0 before the first."""
        return self._sum / self.count if self.count else 0.0

    def add(self, difference: float) -> None:
        """Add an observation. Raises ValueError outside [-1, 1]."""
        if not -1.0 <= difference <= 1.0:
            raise ValueError(f"a difference of {difference} is not in [-1, 1]")
        self.count += 1
        self._sum += difference
        self._pass.stake(difference)
        self._fail.stake(-difference)
        if self.decision is Decision.UNDECIDED:
            if self._fail.won:
                self.decision = Decision.WORSE
            elif self._pass.won:
                self.decision = Decision.NOT_WORSE

    def numbers(self) -> dict[str, float]:
        """The evidence so far: `evidence` is ln(wealth) / ln(1/alpha), and 1 decides."""
        return {
            "mean": self.mean,
            "queries": float(self.count),
            "evidence": self._pass.log_wealth / self._pass.goal,
            "evidence_worse": self._fail.log_wealth / self._fail.goal,
        }


class _Bet:
    """A bet against "the mean of x + shift is 0 or less", x in [-1, 1].

    The stake is the one that would have grown wealth fastest on earlier values, mean / (variance +
    mean^2), with a few made-up values to begin with; it never depends on the value it bets on.
    """

    def __init__(self, shift: float, alpha: float) -> None:
        self._shift, self.goal = shift, -math.log(alpha)
        self._count, self._sum, self._squares = 8.0, 8.0 * 0.05, 8.0 * (0.02 + 0.05**2)
        self.log_wealth = 0.0
        self.won = False

    def stake(self, x: float) -> None:
        value = x + self._shift
        mean = self._sum / self._count
        variance = max(self._squares / self._count - mean**2, 1e-4)
        fraction = max(0.0, min(mean / (variance + mean**2), _CAUTION / (1.0 - self._shift)))
        self.log_wealth += math.log1p(fraction * value)
        self.won = self.won or self.log_wealth >= self.goal
        self._count += 1
        self._sum += value
        self._squares += value**2
