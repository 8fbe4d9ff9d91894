"""Intervals for differences measured on the same questions."""

from collections.abc import Sequence

import numpy as np


def paired_gain(
    before: Sequence[float], after: Sequence[float], seed: int = 0, resamples: int = 10_000
) -> tuple[float, tuple[float, float]]:
    """Mean of after - before over questions, with its 95% percentile bootstrap interval.

    Questions are resampled, not rollouts: the same question's two scores stay together.
    """
    gains = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(gains), (resamples, len(gains)))
    means = np.asarray(gains[rows].mean(axis=1), dtype=float)
    low, high = (float(np.percentile(means, share)) for share in (2.5, 97.5))
    return float(gains.mean()), (low, high)
