"""How much work the engine has, by estimate, and what is given up first as it fills.

The order is top-ups, recording, extra rollouts, and at last requests (503). Learning never outranks
serving, and one plain answer is better than none.
"""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from server.api.errors import Overloaded
from server.charge import Cost
from server.engine.base import tokens_in
from server.metrics import ServerMetrics

_TOP_UPS, _RECORDING, _EXTRA_ROLLOUTS = 0.5, 0.7, 0.85
"""Shares of the capacity above which each of them is given up."""

_SMOOTHING = 0.05
_LEAST, _MOST = 128.0, 1_024.0
"""Bounds of what is taken for a rollout's usual length, or many short replies would teach that long
ones cost nothing, and a few long ones that nobody else has room."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a request may use: the rollouts that its `cost` counts, and whether its group may be
    recorded."""

    cost: Cost
    records: bool

    @property
    def rollouts(self) -> int:
        """Rollouts to draw."""
        return self.cost.rollouts


class Admission:
    """One per server process. `capacity` is in tokens that requests under way may still need."""

    def __init__(self, capacity: int, metrics: ServerMetrics) -> None:
        self._capacity, self._metrics = capacity, metrics
        self._load = 0
        self._tickets = 0
        self._mean_tokens = _LEAST
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

    def cost(self, limit: int | None, chars: int, rollouts: int, least: int = 0) -> Cost:
        """What a request costs with a prompt of `chars` characters and so many rollouts, each of
        at most `limit` tokens, if it has one, and of at least so many."""
        usual = min(max(self._mean_tokens, _LEAST), _MOST)
        each = usual if limit is None else min(limit, 4 * usual)
        return Cost(prompt=tokens_in(chars), each=math.ceil(max(each, least)), rollouts=rollouts)

    @contextmanager
    def admit(self, cost: Cost, *, whole: bool = False) -> Generator[Ticket]:
        """Hold room for a request; where the `whole` of it is needed, for no fewer rollouts. Raises
        Overloaded."""
        share = self._share(cost)
        ticket = Ticket(cost, records=True)
        if self._tickets and share > _EXTRA_ROLLOUTS and cost.rollouts > 1 and not whole:
            self._metrics.shed["rollouts"].inc()
            cost = replace(cost, rollouts=1)
            ticket, share = Ticket(cost, records=False), self._share(cost)
        elif self._tickets and share > _RECORDING:
            self._metrics.shed["recording"].inc()
            ticket = Ticket(cost, records=False)
        if self._tickets and share > 1.0:
            self._metrics.shed["requests"].inc()
            raise Overloaded
        was_idle = self.idle
        self._load += cost.total
        self._tickets += 1
        if was_idle and not self.idle:
            self.on_busy()
        self.on_change()
        try:
            yield ticket
        finally:
            self._tickets -= 1
            self._load -= cost.total
            self.on_change()

    def _share(self, cost: Cost) -> float:
        """Share of the capacity that would be in use with it."""
        return (self._load + cost.total) / self._capacity
