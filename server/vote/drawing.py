"""Draws the rollouts of a vote, all at once or in waves, until no more are needed."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from server.engine.base import Draw, Engine, EngineUnavailable
from server.vote.session import VoteSession


@dataclass(frozen=True, slots=True)
class Drawing:
    """Adds to a session's tally, and calls `conclude` as soon as the vote is decided."""

    engine: Engine
    rollouts_min: int
    conclude: Callable[[VoteSession], Awaitable[None]]

    async def draw(self, session: VoteSession) -> None:
        """Draw a session's rollouts, as many as are needed. Raises EngineError."""
        if session.first is None:
            await self._draw_waves(session, session.tally.size)
            return
        others = asyncio.create_task(self._draw_waves(session, session.tally.size - 1))
        try:
            if await self._add(session, [await session.first]):
                await others
        finally:
            others.cancel()
            await asyncio.gather(others, return_exceptions=True)

    async def _draw_waves(self, session: VoteSession, count: int) -> None:
        """Draw up to `count` rollouts: all at once, or more only while the vote is open."""
        smallest = session.reply.request.ratchet.rollouts_min or self.rollouts_min or count
        wave, retried = min(smallest, count), False
        while session.drawn < count and not (session.drawn and session.outcome.done()):
            try:
                await self._draw_wave(session, wave)
            except EngineUnavailable:
                if retried:
                    raise
                retried = True  # on another replica, if there is one
            wave = min(max(session.drawn, 1), count - session.drawn)

    async def _draw_wave(self, session: VoteSession, count: int) -> None:
        options = {**session.options, "n": count}
        if session.reason is not None:  # the learner does not get it, so they can be left out
            options.setdefault("logprobs", False)
        if "seed" in options:
            options["seed"] += session.drawn  # as the engine does within a request
        started = time.perf_counter()
        async with self.engine.draw(session.engine_request(options)) as batches:
            async for batch in batches:
                session.waited += time.perf_counter() - started
                session.drawn += len(batch)
                if not await self._add(session, batch):
                    return
                started = time.perf_counter()

    async def _add(self, session: VoteSession, batch: Sequence[Draw]) -> bool:
        """Tally some more; False if no more are needed, which aborts them in the engine."""
        tally = session.tally
        await tally.add(batch)
        session.arrived.set()
        enough = len(tally.draws) >= session.reply.request.n and tally.outstanding
        if enough and not session.reflects and not session.outcome.done() and await tally.decided():
            await self.conclude(session)
        return not session.outcome.done() or session.reason is None
