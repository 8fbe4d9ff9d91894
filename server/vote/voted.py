"""Answers by several rollouts and a vote.

Each question is a vote session: a task of its own, which outlives the reply if the vote is decided
before the last rollout is in and the learner gets the rest.
"""

import asyncio
import logging
import time
from contextlib import ExitStack
from functools import partial

from rewards.answers.judging.time_budget import TimeBudget
from rewards.answers.kinds import AnswerKinds
from server.api.replies import Reply
from server.api.requests import SamplingRequest
from server.engine.base import Draw, Engine, EngineError, EngineTimeout
from server.mathematics import Mathematics
from server.policy.reasons import Unrecorded
from server.vote.bookkeeping import Bookkeeping
from server.vote.drawing import Drawing, Reflecting
from server.vote.rules import VoteRules, slices_of
from server.vote.session import Admitted, Caller, VoteSession
from server.vote.tally import RunningTally

log = logging.getLogger("ratchet.voted")

_QUORUM = 0.5
"""Share of the rollouts asked for that is enough for an answer when the others are lost; those that
are for the learner are not missed."""


class VotedAnswers:
    """Runs vote sessions. They fail with EngineError."""

    def __init__(
        self,
        *,
        engine: Engine,
        bookkeeping: Bookkeeping,
        kinds: AnswerKinds,
        mathematics: Mathematics,
        rules: VoteRules,
    ) -> None:
        self._bookkeeping, self.kinds, self._rules = bookkeeping, kinds, rules
        self._mathematics = mathematics
        self._drawing = Drawing(engine, bookkeeping.conclude, bookkeeping.chooses)
        self._reflecting = Reflecting(engine)
        self._tasks: set[asyncio.Task[None]] = set()

    def rollouts(self, request: SamplingRequest) -> int:
        """The most rollouts that a vote on this request may have."""
        usual = self._bookkeeping.spending.most_rollouts(self._rules.rollouts)
        return max(request.n, request.ratchet.rollouts or usual)

    def begin(
        self,
        reply: Reply,
        caller: Caller,
        admitted: Admitted,
        held: ExitStack,
        first: asyncio.Future[Draw] | None = None,
    ) -> VoteSession:
        """Start a session for the request that `reply` is to. What is `held` for it is released
        when all of it is over. `first` is the rollout that the caller streams, if it does."""
        request = reply.request
        answer = request.answer(self._rules.answer)
        size, seconds = admitted.ticket.rollouts, self._rules.seconds(request)
        slices = slices_of(admitted.prompt, caller.client, answer)
        plan = self._bookkeeping.governor.plan(slices, size, self._rules.confidence_of(request))
        # A canary is judged by votes of which one rollout would show nothing.
        least = 1 if self._bookkeeping.policy.canary is None else 2
        plan = self._rules.heeding(plan, request, size, least)
        options = self._rules.options(request, admitted.prompt)
        session = VoteSession(
            reply=reply,
            caller=caller,
            lease=admitted.lease,
            prompt=admitted.prompt,
            answer=answer,
            cost=admitted.ticket.cost,
            tally=RunningTally(
                self.kinds.of(answer),
                size,
                plan.confidence,
                self._rules.support,
                unanimity=plan.unanimity,
                weighed=options["temperature"] <= 1.0,
                judging=partial(
                    self._mathematics.run, caller.holder, TimeBudget(time.monotonic() + seconds)
                ),
            ),
            options=options,
            plan=plan,
            slices=slices,
            deadline=seconds,
            engine_seconds=self._rules.engine_seconds(request),
            reason=self._bookkeeping.exclusion(request, caller, admitted),
            first=first,
        )
        session.task = task = asyncio.create_task(self._run(session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: held.close())
        task.add_done_callback(session.report)
        return session

    async def drain(self) -> None:
        """Wait until no session is running."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, session: VoteSession) -> None:
        await self._collect(session)
        await self._bookkeeping.settle(session)

    async def _collect(self, session: VoteSession) -> None:
        """Draw until the vote is over, or all rollouts if the learner gets them. Those that are
        lost or late make the group partial: without them it would favour short rollouts."""
        tally, started = session.tally, time.monotonic()
        try:
            async with asyncio.timeout(session.deadline):
                await self._drawing.draw(session)
        except (TimeoutError, EngineError) as error:
            if session.outcome.done():
                log.warning("an answered question was not finished: %s", error)
            elif len(tally.draws) < max(1, _QUORUM * (session.chosen_at or session.asked)):
                if isinstance(error, EngineError):
                    raise
                raise EngineTimeout(f"no answer within {session.deadline:g} s") from None
            session.partial = True
            if session.reason is None:
                session.reason = Unrecorded.PARTIAL
                self._bookkeeping.metrics.groups[Unrecorded.PARTIAL].inc()
        if not session.outcome.done():
            left = max(0.0, session.deadline - (time.monotonic() - started))
            if session.reflects and not session.partial:
                await self._reflecting.choose(session, left)
            await self._bookkeeping.conclude(session)
