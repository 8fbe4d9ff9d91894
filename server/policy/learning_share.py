"""How much of the engine learning may take: rollouts of the gate and of top-ups under way.

An engine's priorities order only what waits: what it has begun, it finishes, and every sequence
under way slows all others. So learning is bounded by number, and by a smaller one while clients
are waiting for answers. Who comes into a quiet moment does not wait for what was begun in it: that
is broken off, and done again later.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class LearningShare:
    """At most `alone` rollouts while no client waits, and has not for as long as clients last did,
    or for `quiet` seconds; else `beside`. A single request for more is let in when there are no
    others. First come, first served."""

    alone: int
    beside: int
    quiet: float = 2.0
    clients: Callable[[], int] = lambda: 0
    """Requests of clients that are under way."""
    under_way: int = 0
    _waiting: deque[tuple[int, asyncio.Future[None]]] = field(
        default_factory=deque[tuple[int, asyncio.Future[None]]]
    )
    _begun: list[tuple[int, asyncio.Task[Any]]] = field(
        default_factory=list[tuple[int, asyncio.Task[Any]]]
    )
    _busy: bool = False
    _busy_since: float = 0.0
    _quiet_at: float = 0.0

    @property
    def limit(self) -> int:
        """Rollouts that may be under way now."""
        quiet = not self.clients() and asyncio.get_running_loop().time() >= self._quiet_at
        return self.alone if quiet else self.beside

    async def work(self, rollouts: int, begin: Callable[[bool], Coroutine[Any, Any, T]]) -> T:
        """What `begin` returns, done with room for so many rollouts; it is told what `take` gives.
        It is cancelled and begun again if clients need the room."""
        while True:
            async with self.take(rollouts) as beside_clients:
                mine = rollouts, asyncio.create_task(begin(beside_clients))
                self._begun.append(mine)
                try:
                    await asyncio.wait({mine[1]})
                finally:
                    self._begun.remove(mine)
                    mine[1].cancel()
                    await asyncio.wait({mine[1]})
            if not mine[1].cancelled():
                return mine[1].result()

    @asynccontextmanager
    async def take(self, rollouts: int) -> AsyncGenerator[bool]:
        """Hold room for so many rollouts; gives whether clients wait. If they do, ask for these few
        as clients ask, or a queue that clients keep full would never let them in; else behind
        clients, so that one who comes next goes first."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((rollouts, turn))
        self.changed()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.under_way -= rollouts
            self.changed()  # whoever comes after it may fit
            raise
        try:
            yield self.clients() > 0
        finally:
            self._give_back(rollouts)

    def changed(self) -> None:
        """Let in those who have room now, and break off what clients need the room of: called when
        clients have come or gone."""
        loop = asyncio.get_running_loop()
        if not self._busy and self.clients():
            self._busy_since = loop.time()
            self._break_off()
        elif self._busy and not self.clients():
            self._quiet_at = loop.time() + min(self.quiet, loop.time() - self._busy_since)
            loop.call_at(self._quiet_at, self.changed)
        self._busy = self.clients() > 0
        while self._waiting:
            rollouts, turn = self._waiting[0]
            gave_up = turn.cancelled()
            if not gave_up and self.under_way and self.under_way + rollouts > self.limit:
                return
            self._waiting.popleft()
            if not gave_up:
                self.under_way += rollouts
                turn.set_result(None)

    def _break_off(self) -> None:
        """Cancel the newest work, until the oldest is left or what is left has room."""
        left = self.under_way
        for rollouts, task in reversed(self._begun[1:]):
            if left <= self.beside:
                return
            task.cancel()
            left -= rollouts

    def _give_back(self, rollouts: int) -> None:
        self.under_way -= rollouts
        self.changed()
