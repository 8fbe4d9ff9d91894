"""Figures over the last so many observations."""

import math
from collections import deque

from prometheus_client import Gauge

WINDOW = 256
"""Observations a rolling figure goes back."""


class RollingMean:
    """The mean of the last `WINDOW` values, shown by a gauge; another one tells how many those are.

    Before the first value a gauge with labels shows nothing, one without shows NaN: no data is not
    zero.
    """

    def __init__(self, mean: Gauge, count: Gauge, *labels: str) -> None:
        self._gauges, self._labels = (mean, count), labels
        self._values: deque[float] = deque(maxlen=WINDOW)
        if not labels:
            self._show()

    @property
    def mean(self) -> float | None:
        """None before the first value."""
        return sum(self._values) / len(self._values) if self._values else None

    def add(self, value: float) -> None:
        """One more value; the oldest goes."""
        if self._labels and not self._values:
            self._show()
        self._values.append(value)

    def _show(self) -> None:
        """Have the gauges reckon when they are read, which is seldom."""
        mean, count = (g.labels(*self._labels) if self._labels else g for g in self._gauges)
        mean.set_function(lambda: math.nan if self.mean is None else self.mean)
        count.set_function(lambda: len(self._values))


class RollingQuantiles:
    """Quantiles of the last `WINDOW` values, and how many there have been in all."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=WINDOW)
        self.count = 0

    def add(self, value: float) -> None:
        """One more value; the oldest goes."""
        self._values.append(value)
        self.count += 1

    def quantile(self, share: float) -> float | None:
        """The value that this share of the values does not exceed; None before the first."""
        ranked = sorted(self._values)
        return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None
