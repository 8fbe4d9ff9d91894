"""Mathematics in threads of its own, a few tallies or labels at a time, in fair turns.

Whose mathematics has taken the least time lately goes first, so that nobody's slow answers keep
others waiting for more than what is under way.
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rewards.answers.judging.time_budget import TimeBudget, within

T = TypeVar("T")

_HALF_LIFE = 30.0
"""Seconds after which time that somebody's mathematics took counts half."""
_REMEMBERED = 1_024


@dataclass(eq=False, slots=True)
class _Waiting:
    """Somebody whose turn has not come."""

    whose: str
    turn: asyncio.Future[None] = field(default_factory=asyncio.Future[None])


class Mathematics:
    """For one purpose of one process: so many `places` at a time. Who has waited for `patience`
    seconds gets no mathematics at all, so that what it leaves open counts as different."""

    def __init__(self, places: int, patience: float = math.inf) -> None:
        self._threads = ThreadPoolExecutor(places, "mathematics")
        self._free, self._patience = places, patience
        self._waiting: list[_Waiting] = []
        self._used: dict[str, tuple[float, float]] = {}

    async def run(self, whose: str, budget: TimeBudget, work: Callable[[], T]) -> T:
        """The result of the work, within the budget."""
        seconds = min(self._patience, budget.until - time.monotonic())
        if not await self._turn(whose, seconds):
            return await asyncio.to_thread(_within, TimeBudget(until=-math.inf), work)
        loop, started = asyncio.get_running_loop(), time.monotonic()

        def over(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(self._end, whose, time.monotonic() - started)

        job = self._threads.submit(_within, budget, work)
        job.add_done_callback(over)  # even if nobody waits for it any more
        return await asyncio.wrap_future(job)

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, whose: str, seconds: float) -> bool:
        """Wait for a place; False if none comes in time."""
        if self._free:
            self._free -= 1
            return True
        waiting = _Waiting(whose)
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await waiting.turn
        except BaseException as error:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            elif waiting.turn.done() and not waiting.turn.cancelled():
                self._give_on()
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def _end(self, whose: str, seconds: float) -> None:
        """Work is over: count it, and give its place to who comes next."""
        now = time.monotonic()
        used = self._used_by(whose, now) + seconds
        self._used.pop(whose, None)
        self._used[whose] = used, now
        if len(self._used) > _REMEMBERED:
            del self._used[next(iter(self._used))]
        self._give_on()

    def _give_on(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        now = time.monotonic()
        chosen = min(self._waiting, key=lambda one: self._used_by(one.whose, now))  # or the first
        self._waiting.remove(chosen)
        chosen.turn.set_result(None)

    def _used_by(self, whose: str, now: float) -> float:
        """Seconds that somebody has used lately."""
        seconds, at = self._used.get(whose, (0.0, now))
        return seconds * 0.5 ** ((now - at) / _HALF_LIFE)


def _within(budget: TimeBudget, work: Callable[[], T]) -> T:
    with within(budget):
        return work()
