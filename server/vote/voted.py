"""Answers by several rollouts and a vote.

Each question is a vote session: a task of its own, which outlives the reply where the vote is
decided before the last rollout is in and the learner wants the rest.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from typing import Any

import orjson

from adapter.store.clients import pseudonym
from rewards.answers.kinds import AnswerKinds
from rewards.rollouts import DEFAULT_KIND, RolloutGroup, Sampling
from server.api.replies import Outcome
from server.api.requests import PASSED, SamplingRequest
from server.engine.base import (
    Draw,
    Engine,
    EngineError,
    EngineReplyInvalid,
    EngineTimeout,
    EngineUnavailable,
    Prompt,
)
from server.metrics import ServerMetrics
from server.policy.leases import Lease, Policy
from server.policy.live_signals import LiveSignals
from server.policy.stats import VoteRecord
from server.recording.feedback import Answered, Feedback
from server.recording.recorder import Recorder
from server.recording.reservoir import Query, Reservoir
from server.recording.transcript import Transcript
from server.vote.admission import Admission, Ticket
from server.vote.recent_votes import RecentVotes
from server.vote.rules import VoteRules, prompt_key
from server.vote.session import Caller, VoteSession
from server.vote.tally import RunningTally
from server.vote.top_up import TopUp, Unfinished

log = logging.getLogger("ratchet.voted")

_QUORUM = 0.5
"""Share of the rollouts that suffices for an answer when the others are lost."""


class VotedAnswers:
    """Starts vote sessions and sees them through. Sessions fail with EngineError."""

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        admission: Admission,
        recorder: Recorder,
        transcript: Transcript,
        top_up: TopUp,
        feedback: Feedback,
        reservoir: Reservoir,
        signals: LiveSignals,
        recent: RecentVotes,
        kinds: AnswerKinds,
        rules: VoteRules,
        metrics: ServerMetrics,
    ) -> None:
        self._engine, self._policy, self._admission = engine, policy, admission
        self._recorder, self._transcript, self._top_up = recorder, transcript, top_up
        self._feedback, self._reservoir = feedback, reservoir
        self._signals, self._recent, self._kinds = signals, recent, kinds
        self._rules, self._metrics = rules, metrics
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(
        self, reply_id: str, request: SamplingRequest, caller: Caller, lease: Lease, ticket: Ticket,
        prompt: Prompt, held: ExitStack, *, streams_first: bool = False,
    ) -> VoteSession:  # fmt: skip
        """Begin. What is `held` for the session is let go of when all of it is over."""
        confidence = request.ratchet.confidence or self._rules.confidence
        session = VoteSession(
            reply_id,
            request,
            caller,
            lease,
            ticket,
            RunningTally(self._kinds[DEFAULT_KIND], ticket.rollouts, confidence),
            prompt,
            self._rules.options(request, prompt),
            self._keep_out(request, caller, lease, ticket),
        )
        if streams_first:
            session.first = asyncio.Future()
        session.task = self._start(self._see_through(session))
        session.task.add_done_callback(lambda _: held.close())
        session.task.add_done_callback(session.ended)
        return session

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _see_through(self, session: VoteSession) -> None:
        try:
            await self._collect(session)
        except EngineError as error:
            if not session.outcome.done():
                raise
            log.warning("an answered question was not finished: %s", error)
        try:
            await self._settle(session)
        except EngineReplyInvalid as error:
            self._metrics.groups["unusable"].inc()
            log.warning("a group is not recorded: %s", error)

    async def _collect(self, session: VoteSession) -> None:
        """Draw until the vote is over, or until all is in where the learner wants it."""
        tally, deadline = session.tally, session.request.ratchet.deadline or self._rules.deadline
        try:
            async with asyncio.timeout(deadline):
                await self._draw(session)
        except (TimeoutError, EngineError) as error:
            if session.outcome.done() or len(tally.draws) < max(1, _QUORUM * tally.size):
                if isinstance(error, EngineError):
                    raise
                raise EngineTimeout(f"no answer within {deadline:g} s") from None
            session.partial, session.reason = True, session.reason or "partial"
        if not session.outcome.done():
            await self._conclude(session)

    async def _draw(self, session: VoteSession) -> None:
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
        smallest = session.request.ratchet.rollouts_min or self._rules.rollouts_min or count
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
        if session.reason is not None:  # nothing will be learnt from it, so they can be left out
            options.setdefault("logprobs", False)
        if "seed" in options:
            options["seed"] += session.drawn  # as the engine counts on in a single request
        started = time.perf_counter()
        async with self._engine.draw(session.lease.engine_name, session.prompt, options) as batches:
            async for batch in batches:
                session.waited += time.perf_counter() - started
                session.drawn += len(batch)
                if not await self._add(session, batch):
                    return
                started = time.perf_counter()

    async def _add(self, session: VoteSession, batch: Sequence[Draw]) -> bool:
        """Count some more; False if nobody needs the others, so that the engine is told so."""
        tally = session.tally
        await tally.add(batch)
        session.news.set()
        enough = len(tally.draws) >= session.request.n and tally.outstanding
        if enough and not session.outcome.done() and await tally.decided():
            await self._conclude(session)
        return not session.outcome.done() or session.reason is None

    async def _conclude(self, session: VoteSession) -> None:
        """The vote is over: let the reply go out."""
        tally, vote = session.tally, await session.tally.vote()
        if vote.answer is None:
            session.reason = session.reason or "no_answer"
        if session.reason is None:
            session.reason = self._recorder.hindrance()
        outcome = Outcome(
            list(tally.draws), await tally.current(), vote, session.lease, session.reason
        )
        if session.outcome.done():
            return
        if tally.outstanding > 0 and not session.partial:
            self._metrics.votes_early.inc()
        session.outcome.set_result(outcome)
        if vote.answer is not None and not self._recorder.refuses(session.caller.client):
            answered = Answered(list(outcome.tally.answers), vote.answer, tally.kind.name)
            self._feedback.remember(session.reply_id, answered)

    async def _settle(self, session: VoteSession) -> None:
        """Count the vote, and hand the group on."""
        tally, lease, caller = session.tally, session.lease, session.caller
        await self._count(session)
        if session.reason is not None:
            return
        key = prompt_key(session.prompt)
        passed = session.request.passed_on(PASSED)
        client, kind = pseudonym(caller.client), tally.kind.name
        query = Query(session.prompt, passed, client=client, answer_kind=kind)
        self._reservoir.add(key, query)
        rollouts = await self._transcript.rollouts(tally.draws)
        request = session.request
        top_p, top_k = request.top_p or 1.0, max(0, request.top_k or 0)
        group = RolloutGroup(
            id=uuid.uuid4().hex,
            prompt=orjson.dumps(session.prompt).decode(),
            prompt_ids=tally.draws[0].prompt_ids,
            rollouts=rollouts,
            policy_version=lease.version,
            sampling=Sampling(self._rules.temperature, top_p, top_k, request.token_limit or 0),
            client=caller.client,
            created_at=time.time(),
            answer_kind=kind,
        )
        held = ExitStack()
        held.enter_context(self._policy.hold(lease.version))
        self._top_up.offer(
            Unfinished(group, lease.engine_name, session.prompt, session.options, held)
        )

    def _keep_out(
        self, request: SamplingRequest, caller: Caller, lease: Lease, ticket: Ticket
    ) -> str | None:
        """Why this group is not for training, whatever comes of it; or None."""
        if not caller.train or request.opted_out or self._recorder.refuses(caller.client):
            return "opted_out"
        if lease.pinned:
            return "pinned_version"
        if (request.top_p or 1.0) < 1.0 or (request.top_k or 0) > 0:
            return "truncated_sampling"
        if request.bends_sampling:
            return "altered_sampling"
        return None if ticket.records else "shed"

    async def _count(self, session: VoteSession) -> None:
        """What all rollouts that were finished say."""
        tally, metrics = session.tally, self._metrics
        vote, generated = await tally.vote(), tally.generated
        self._admission.finished(generated, vote.total)
        metrics.rollouts.inc(vote.total)
        if not session.partial:
            metrics.rollouts_spared.inc(max(0, tally.outstanding))
        metrics.prompt_tokens.inc(len(tally.draws[0].prompt_ids))
        metrics.completion_tokens.inc(generated)
        metrics.votes["no_answer" if vote.answer is None else "answered"].inc()
        if vote.answer is not None:
            metrics.agreement.add(vote.agreement)
        if not session.lease.pinned:
            self._signals.note(session.lease.version, VoteRecord.of(vote, generated))
        self._recent.add(session, vote)
