"""Draws the rollouts of a vote, all at once or in waves, until no more are needed; and one more
of a model that chooses among its answers: the vote strategy `reflect` (SR-TTRL)."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rewards.answers.reading.reasoning import said_by
from rewards.reflection import choice_in, reflection_on, representatives_of
from server.engine.base import (
    Draw,
    Engine,
    EngineError,
    EngineUnavailable,
    Prompt,
    draw_all,
    is_chat,
)
from server.vote.session import VoteSession

log = logging.getLogger("ratchet.voted")

_KEPT = frozenset({
    "max_tokens", "max_completion_tokens", "chat_template_kwargs", "temperature", "seed",
})  # fmt: skip
"""Options of the rollouts that a reflection has too: no tools, no form of the reply, no stops."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Adds to a session's tally, and calls `conclude` as soon as the vote is decided.

    A group for the learner is drawn for it alone: the rollouts by which a question was chosen are
    more often split than others of its kind, so they are not in it, and how many others there are
    does not depend on what they say."""

    engine: Engine
    conclude: Callable[[VoteSession], Awaitable[None]]
    chooses: Callable[[VoteSession], Awaitable[bool]]
    """Whether the rest of a question that is still open is drawn for the learner."""

    async def draw(self, session: VoteSession) -> None:
        """Draw a session's rollouts, as many as are needed. Raises EngineError."""
        if session.first is None:
            await self._draw_waves(session, session.tally.size)
            return
        others = asyncio.create_task(self._draw_waves(session, session.tally.size - 1))
        try:
            goes_on = await self._add(session, [await session.first])
            session.written.set()
            if goes_on:
                await others
        finally:
            others.cancel()
            await asyncio.gather(others, return_exceptions=True)

    async def _draw_waves(self, session: VoteSession, count: int) -> None:
        """Draw up to `count` rollouts beside the streamed one, which belongs to the first wave: all
        at once, or more only while the vote is open."""
        wave, retried = min(session.plan.first - (session.first is not None), count), False
        while wave or (wave := await self._next_wave(session, count)):
            try:
                await self._draw_wave(session, wave)
                wave = 0
            except EngineUnavailable:
                if retried:
                    raise
                retried = True  # on another replica, if there is one: the rest of that wave
                wave = session.asked - session.drawn if self._goes_on(session) else 0

    async def _next_wave(self, session: VoteSession, count: int) -> int:
        """How many rollouts to draw next, as many again or all that are left if the learner gets
        them; 0 if no more are needed."""
        if session.first is not None:
            await session.written.wait()
        left = count - session.drawn
        if not left or not self._goes_on(session):
            return 0
        if not session.chosen_at and await self.chooses(session):
            session.chosen_at = len(session.tally.draws)
            return left
        return min(max(len(session.tally.draws), 1), left)

    @staticmethod
    def _goes_on(session: VoteSession) -> bool:
        """Whether anybody wants more rollouts."""
        learns = session.chosen_at and session.reason is None
        return not session.outcome.done() or bool(learns)

    async def _draw_wave(self, session: VoteSession, count: int) -> None:
        session.asked = session.drawn + count
        options = {**session.options, "n": count}
        if session.reason is not None and session.plan.confidence == 1.0:
            # Neither the learner wants them nor the vote, so they can be left out.
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
        whole = len(tally.draws) == session.asked + (session.first is not None)
        is_open = enough and not session.reflects and not session.outcome.done()
        if is_open and await tally.decided(whole=whole):
            await self.conclude(session)
        if not session.outcome.done() or session.reason is None:
            return True
        # What a first wave shows must not depend on which of its rollouts came first.
        return session.governed and len(tally.draws) < session.plan.first


@dataclass(frozen=True, slots=True)
class Reflecting:
    """Adds the model's choice to sessions whose rollouts are in."""

    engine: Engine

    async def choose(self, session: VoteSession, seconds: float) -> None:
        """Ask, if there is more than one answer. A model that chooses nothing, or not within
        `seconds`, an engine that fails and a prompt of token ids leave the vote to decide."""
        tally, kind = await session.tally.current(), session.tally.kind
        if kind.name == "text" or len(tally.members) < 2:
            return
        texts = [said_by(draw.rollout) for draw in session.tally.draws]
        representatives = await asyncio.to_thread(representatives_of, tally, texts)
        options = {name: value for name, value in session.options.items() if name in _KEPT}
        request = session.engine_request({**options, "n": 1, "logprobs": False}, seconds)
        asked = _asking(session.prompt, reflection_on(representatives))
        if asked is None:
            return
        started = time.perf_counter()
        try:
            async with asyncio.timeout(seconds):
                [session.reflection] = await draw_all(self.engine, replace(request, prompt=asked))
        except (TimeoutError, EngineError) as error:
            log.warning("an answer was not reflected upon: %s", str(error) or "it took too long")
            return
        finally:
            session.waited += time.perf_counter() - started
        rollout = session.reflection.rollout
        choice = partial(choice_in, rollout, representatives, kind)
        session.chosen = await session.tally.judging(choice)


def _asking(prompt: Prompt, question: str) -> Prompt | None:
    """A prompt with one more question; None if it is token ids, to which no text can be added. It
    goes to the end of the last message if that is a user's: some templates allow no two in a
    row."""
    if isinstance(prompt, str):
        return f"{prompt}\n\n{question}\n\n"
    if not is_chat(prompt):
        return None
    *before, last = prompt
    content: Any = last.get("content")
    if last.get("role") != "user":
        return [*prompt, {"role": "user", "content": question}]
    if isinstance(content, str):
        return [*before, {**last, "content": f"{content}\n\n{question}"}]
    return [*before, {**last, "content": [*(content or ()), {"type": "text", "text": question}]}]
