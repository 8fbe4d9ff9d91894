"""How much of the engine learning may take: rollouts of the gate and of top-ups under way.

An engine's priorities order only what waits: what it has begun, it finishes, and every sequence
under way slows all others. So learning is bounded by number, and by a smaller one while clients
are waiting for answers.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class LearningShare:
    """At most `alone` rollouts while no client waits, and `beside` while some do; a single request
    for more is let in when there are no others. First come, first served."""

    alone: int
    beside: int
    clients: Callable[[], int] = lambda: 0
    """Requests of clients that are under way."""
    under_way: int = 0
    _waiting: deque[tuple[int, asyncio.Future[None]]] = field(
        default_factory=deque[tuple[int, asyncio.Future[None]]]
    )

    @property
    def limit(self) -> int:
        """Rollouts that may be under way now."""
        return self.beside if self.clients() else self.alone

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
        """Let in those who have room now: called when clients have come or gone."""
        while self._waiting:
            rollouts, turn = self._waiting[0]
            gave_up = turn.cancelled()
            if not gave_up and self.under_way and self.under_way + rollouts > self.limit:
                return
            self._waiting.popleft()
            if not gave_up:
                self.under_way += rollouts
                turn.set_result(None)

    def _give_back(self, rollouts: int) -> None:
        self.under_way -= rollouts
        self.changed()
