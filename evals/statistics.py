"""Intervals and tests: over questions of one run, and over the seeds of several."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

_CHUNK = 100


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float

    def percent(self, signed: bool = False) -> str:
        """`93.5 (90.1..96.9)`, in points of a hundred."""
        sign = "+" if signed else ""
        return f"{100 * self.mean:{sign}.1f} ({100 * self.low:.1f}..{100 * self.high:.1f})"


def over_seeds(values: Sequence[float]) -> Interval:
    """Mean of one number a seed, with Student's t interval. Raises ValueError for less than two."""
    if len(values) < 2:
        raise ValueError("an interval over seeds needs at least two of them")
    numbers = np.asarray(values, dtype=float)
    mean, error = float(numbers.mean()), float(numbers.std(ddof=1)) / len(numbers) ** 0.5
    reach = error * float(stats.t.ppf(0.975, len(numbers) - 1))
    return Interval(mean, mean - reach, mean + reach)


def bootstrap(values: Sequence[float], seed: int = 0, resamples: int = 10_000) -> Interval:
    """Mean over questions with its 95% percentile bootstrap interval."""
    mean, (low, high) = paired_gain([0.0] * len(values), values, seed, resamples)
    return Interval(mean, low, high)


def sign_flip_p(before: Sequence[float], after: Sequence[float], seed: int = 0) -> float:
    """Two-sided p value of a paired permutation test: how often swapping before and after at random
    within questions gives as large a difference of means. 1 if no question differs."""
    gains = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    if not gains.any():
        return 1.0
    result = stats.permutation_test(
        (gains,), np.mean, permutation_type="samples", n_resamples=9999,
        batch=100, rng=np.random.default_rng(seed), vectorized=True,
    )  # fmt: skip
    return float(result.pvalue)


def paired_gain(
    before: Sequence[float], after: Sequence[float], seed: int = 0, resamples: int = 10_000
) -> tuple[float, tuple[float, float]]:
    """Mean of after - before over questions, with its 95% percentile bootstrap interval.

    Questions are resampled, not rollouts: the same question's two scores stay together.
    """
    gains = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [  # in chunks: all resamples of a large data set at once would take gigabytes
            gains[rng.integers(0, len(gains), (chunk, len(gains)))].mean(axis=1)
            for chunk in [_CHUNK] * (resamples // _CHUNK) + [resamples % _CHUNK]
        ]
    )
    low, high = (float(np.percentile(means, share)) for share in (2.5, 97.5))
    return float(gains.mean()), (low, high)
