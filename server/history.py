"""An hour of the server's own figures, for the live page; Prometheus keeps them for longer."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from server.metrics import ACCURACIES, ServerMetrics
from server.policy.leases import Policy
from server.policy.live_signals import LiveSignals

STEP_SECONDS = 2.0
_KEPT_SECONDS = 3600.0

COLUMNS = (
    "time", "version", "agreement", *ACCURACIES, "waiting", "rate", "p50", "p95", "load",
    "price",
)  # fmt: skip
"""`time` in seconds since 1970, `waiting` groups, `rate` completions a second, `p50` and `p95` of
the last completions in seconds, `load` as a share of the capacity, `price` in generated tokens for
each token of an answer; shares for the others."""


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
        price: Callable[[], float | None],
    ) -> None:
        self._metrics, self._policy, self._signals = metrics, policy, signals
        self._waiting, self._load, self._price = waiting, load, price
        self.rows: deque[Sequence[float | None]] = deque(maxlen=int(_KEPT_SECONDS / STEP_SECONDS))
        """The samples kept, oldest first, each in the order of `COLUMNS`."""
        self._answered, self._sampled_at = 0, time.monotonic()

    async def run(self) -> None:
        """Sample every other second."""
        while True:
            self.sample()
            await asyncio.sleep(STEP_SECONDS)

    def sample(self) -> None:
        """Add a row, and update the gauges of the live version."""
        metrics, latency, live = self._metrics, self._metrics.latency, self._policy.live
        metrics.live(self._signals.stats(live))
        now, answered = time.monotonic(), latency.count
        rate = (answered - self._answered) / max(now - self._sampled_at, 1e-3)
        self._answered, self._sampled_at = answered, now
        row = [
            time.time(), live, metrics.agreement.mean,
            *(metrics.accuracy[kind].mean for kind in ACCURACIES),
            self._waiting(), rate, latency.quantile(0.5), latency.quantile(0.95), self._load(),
            self._price(),
        ]  # fmt: skip
        self.rows.append([None if value is None else round(float(value), 4) for value in row])

    def columns(self, since: float) -> dict[str, list[float | None]]:
        """Rows after a point in time, by column."""
        rows = [row for row in self.rows if (row[0] or 0.0) > since]
        return {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}
