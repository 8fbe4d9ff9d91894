"""Answers by several rollouts and a vote.

Each question is a vote session: a task of its own, which outlives the reply where the vote is
decided before the last rollout is in and the learner wants the rest.
"""

import asyncio
import logging
from contextlib import ExitStack

from rewards.answers.kinds import AnswerKinds
from rewards.rollouts import DEFAULT_KIND
from server.api.replies import new_id
from server.api.requests import SamplingRequest
from server.engine.base import Engine, EngineError, EngineReplyInvalid, EngineTimeout
from server.metrics import ServerMetrics
from server.policy.reasons import Unrecorded
from server.vote.bookkeeping import Bookkeeping
from server.vote.drawing import Drawing
from server.vote.rules import VoteRules
from server.vote.session import Caller, Entry, VoteSession
from server.vote.tally import RunningTally

log = logging.getLogger("ratchet.voted")

_QUORUM = 0.5
"""Share of the rollouts that suffices for an answer when the others are lost."""


class VotedAnswers:
    """Starts vote sessions and sees them through. Sessions fail with EngineError."""

    def __init__(
        self,
        *,
        engine: Engine,
        bookkeeping: Bookkeeping,
        kinds: AnswerKinds,
        rules: VoteRules,
        metrics: ServerMetrics,
    ) -> None:
        self._bookkeeping, self._kinds = bookkeeping, kinds
        self._rules, self._metrics = rules, metrics
        self._drawing = Drawing(engine, rules.rollouts_min, bookkeeping.conclude)
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(
        self,
        request: SamplingRequest,
        caller: Caller,
        entry: Entry,
        held: ExitStack,
        *,
        streams_first: bool = False,
    ) -> VoteSession:
        """Begin. What is `held` for the session is released when all of it is over."""
        asked, kind = request.ratchet, self._kinds[DEFAULT_KIND]
        confidence = asked.confidence or self._rules.confidence
        session = VoteSession(
            reply_id=new_id(request),
            request=request,
            caller=caller,
            entry=entry,
            tally=RunningTally(kind, entry.ticket.rollouts, confidence),
            options=self._rules.options(request, entry.prompt),
            deadline=asked.deadline or self._rules.deadline,
            reason=self._bookkeeping.objection(request, caller, entry),
            first=asyncio.Future() if streams_first else None,
        )
        session.task = task = asyncio.create_task(self._see_through(session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: held.close())
        task.add_done_callback(session.ended)
        return session

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _see_through(self, session: VoteSession) -> None:
        try:
            await self._collect(session)
        except EngineError as error:
            if not session.outcome.done():
                raise
            log.warning("an answered question was not finished: %s", error)
        try:
            await self._bookkeeping.settle(session)
        except EngineReplyInvalid as error:
            self._metrics.groups[Unrecorded.UNUSABLE].inc()
            log.warning("a group is not recorded: %s", error)

    async def _collect(self, session: VoteSession) -> None:
        """Draw until the vote is over, or until all is in where the learner wants it."""
        tally = session.tally
        try:
            async with asyncio.timeout(session.deadline):
                await self._drawing.draw(session)
        except (TimeoutError, EngineError) as error:
            if session.outcome.done() or len(tally.draws) < max(1, _QUORUM * tally.size):
                if isinstance(error, EngineError):
                    raise
                raise EngineTimeout(f"no answer within {session.deadline:g} s") from None
            session.partial, session.reason = True, session.reason or Unrecorded.PARTIAL
        if not session.outcome.done():
            await self._bookkeeping.conclude(session)
