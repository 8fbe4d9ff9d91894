"""Time for the mathematics of one tally or one label: who has none left gets a no.

Each pair of answers has a deadline of its own (`math_judge`), but 16 rollouts have 120 pairs. The
budget is that of the context, as kinds of answers know nothing of time.
"""

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

PAIRS = 4
"""A tally, or a label, has as much time as so many pairs that take all of theirs."""


class OutOfTime(Exception):
    """The budget is spent before there is a verdict, which another budget may allow."""


class TimeBudget:
    """What one tally may spend, its waiting apart, and `until` when on the monotonic clock."""

    def __init__(self, until: float = math.inf) -> None:
        self.until = until
        self._spent = 0.0

    def left(self, deadline: float) -> float:
        """Seconds left, where a pair has a `deadline` of so many; never less than 0."""
        return max(0.0, min(PAIRS * deadline - self._spent, self.until - time.monotonic()))

    def spend(self, seconds: float) -> None:
        """Count what was used."""
        self._spent += seconds


_current: ContextVar[TimeBudget | None] = ContextVar("time_budget", default=None)


def current_budget() -> TimeBudget:
    """The budget of the context; a new one if it has none."""
    return _current.get() or TimeBudget()


@contextmanager
def within(budget: TimeBudget | None = None) -> Generator[TimeBudget]:
    """Have the mathematics of the block use this budget; by default that of the context, or a new
    one where it has none."""
    chosen = budget or current_budget()
    token = _current.set(chosen)
    try:
        yield chosen
    finally:
        _current.reset(token)
