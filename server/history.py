"""An hour of the server's own figures, for the live page; Prometheus keeps them for longer."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from server.metrics import ACCURACIES, ServerMetrics
from server.policy.leases import Policy
from server.policy.live_signals import LiveSignals

STEP_SECONDS = 2.0
_KEPT_SECONDS = 3600.0

COLUMNS = (
    "time", "version", "agreement", *ACCURACIES, "waiting", "rate", "p50", "p95", "load",
)  # fmt: skip
"""`time` in seconds since 1970, `waiting` groups, `rate` completions a second, `p50` and `p95` of
the last completions in seconds, `load` as a share of the capacity; shares for the others."""

Row = tuple[float | None, ...]


class History:
    """One per server process. `run` until cancelled."""

    def __init__(
        self,
        *,
        metrics: ServerMetrics,
        policy: Policy,
        signals: LiveSignals,
        waiting: Callable[[], int],
        load: Callable[[], float],
    ) -> None:
        self._metrics, self._policy, self._signals = metrics, policy, signals
        self._waiting, self._load = waiting, load
        self._rows: deque[Row] = deque(maxlen=int(_KEPT_SECONDS / STEP_SECONDS))
        self._counted, self._looked = 0, time.monotonic()

    async def run(self) -> None:
        """Look every other second."""
        while True:
            self.look()
            await asyncio.sleep(STEP_SECONDS)

    def look(self) -> None:
        """Keep one more row, and the gauges that have to be worked out."""
        metrics, now = self._metrics, time.monotonic()
        metrics.live(self._signals.stats(self._policy.live))
        answered = metrics.latency.count
        rate = (answered - self._counted) / max(now - self._looked, 1e-3)
        self._counted, self._looked = answered, now
        self._rows.append((
            round(time.time(), 1),
            float(self._policy.live),
            _rounded(metrics.agreement.mean),
            *(_rounded(metrics.accuracy[kind].mean) for kind in ACCURACIES),
            float(self._waiting()),
            round(rate, 2),
            _rounded(metrics.latency.quantile(0.5)),
            _rounded(metrics.latency.quantile(0.95)),
            round(self._load(), 4),
        ))  # fmt: skip

    def columns(self, since: float) -> dict[str, list[float | None]]:
        """Rows after a point in time, by column."""
        rows = [row for row in self._rows if (row[0] or 0.0) > since]
        return {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
