"""How much work the engine has, by estimate, and what is given up first as it fills.

The order is top-ups, recording, extra rollouts, and at last requests (503). Learning never outranks
serving, and one plain answer is better than none.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from server.api.errors import Overloaded
from server.metrics import ServerMetrics

_TOP_UPS, _RECORDING, _EXTRA_ROLLOUTS = 0.5, 0.7, 0.85
"""Shares of the capacity above which each of them is given up."""

_CHARS_PER_TOKEN = 4
_SMOOTHING = 0.05


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a request may use: `rollouts`, and whether its group may be recorded."""

    rollouts: int
    records: bool


class Admission:
    """One per server process. `capacity` is in tokens that requests under way may still need."""

    def __init__(self, capacity: int, metrics: ServerMetrics) -> None:
        self._capacity, self._metrics = capacity, metrics
        self._load = 0.0
        self._tickets = 0
        self._mean_tokens = 128.0
        self.on_busy: Callable[[], None] = lambda: None
        """Called when there is no more room for top-ups."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when a request has come or gone."""
        metrics.load.set_function(lambda: self.load)

    @property
    def load(self) -> float:
        """Share of the capacity that is in use."""
        return self._load / self._capacity

    @property
    def requests(self) -> int:
        """Requests under way."""
        return self._tickets

    @property
    def idle(self) -> bool:
        """Whether there is room for top-ups."""
        return self.load < _TOP_UPS

    def finished(self, tokens: int, rollouts: int) -> None:
        """Learn the usual length of rollouts from some that have ended."""
        self._mean_tokens += _SMOOTHING * (tokens / rollouts - self._mean_tokens)

    @contextmanager
    def admit(self, limit: int | None, chars: int, rollouts: int) -> Generator[Ticket]:
        """Hold room for a request with a prompt of `chars` characters and so many rollouts of at
        most `limit` tokens. Raises Overloaded."""
        prompt = chars / _CHARS_PER_TOKEN
        each = min(limit or self._mean_tokens, self._mean_tokens * 4)
        share = (self._load + prompt + each * rollouts) / self._capacity
        ticket = Ticket(rollouts, records=True)
        if self._tickets and share > _EXTRA_ROLLOUTS and rollouts > 1:
            self._metrics.shed["rollouts"].inc()
            ticket = Ticket(1, records=False)
            share = (self._load + prompt + each) / self._capacity
        elif self._tickets and share > _RECORDING:
            self._metrics.shed["recording"].inc()
            ticket = Ticket(rollouts, records=False)
        if self._tickets and share > 1.0:
            self._metrics.shed["requests"].inc()
            raise Overloaded
        cost = prompt + each * ticket.rollouts
        was_idle = self.idle
        self._load += cost
        self._tickets += 1
        if was_idle and not self.idle:
            self.on_busy()
        self.on_change()
        try:
            yield ticket
        finally:
            self._tickets -= 1
            self._load = self._load - cost if self._tickets else 0.0
            self.on_change()
