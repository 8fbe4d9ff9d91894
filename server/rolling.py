"""Figures over the last so many observations."""

import math
from collections import deque

from prometheus_client import Gauge

WINDOW = 256
"""Observations that a rolling figure covers."""


class RollingMean:
    """The mean of the last `WINDOW` values, shown by one gauge, and their number by another. No
    data is not zero: before the first value there is no series, or NaN if there are no labels."""

    def __init__(self, mean: Gauge, count: Gauge, *labels: str) -> None:
        self._gauges, self._labels = (mean, count), labels
        self._values: deque[float] = deque(maxlen=WINDOW)
        if not labels:
            mean.set(math.nan)

    @property
    def mean(self) -> float | None:
        """None before the first value."""
        return sum(self._values) / len(self._values) if self._values else None

    def add(self, value: float) -> None:
        """Add a value and drop the oldest."""
        self._values.append(value)
        mean, count = (g.labels(*self._labels) if self._labels else g for g in self._gauges)
        mean.set(sum(self._values) / len(self._values))
        count.set(len(self._values))


class RollingQuantiles:
    """Quantiles of the last `WINDOW` values, and how many there have been in all."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=WINDOW)
        self.count = 0

    def add(self, value: float) -> None:
        """Add a value and drop the oldest."""
        self._values.append(value)
        self.count += 1

    def quantile(self, share: float) -> float | None:
        """The value that this share of the values does not exceed; None before the first."""
        ranked = sorted(self._values)
        return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None
