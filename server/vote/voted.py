"""Answers by several rollouts and a vote.

Each question is an inquiry: a task of its own, which outlives the reply where the vote is decided
before the last rollout is in and the learner wants the rest.
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
from rewards.answers.equality import Equality
from rewards.rollouts import RolloutGroup, Sampling
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
from server.vote.session import Caller, Inquiry
from server.vote.tally import Poll
from server.vote.top_up import TopUp, Unfinished

log = logging.getLogger("ratchet.voted")

_QUORUM = 0.5
"""Share of the rollouts that suffices for an answer when the others are lost."""


class VotedAnswers:
    """Starts inquiries and sees them through. Inquiries fail with EngineError."""

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
        equality: Equality,
        rules: VoteRules,
        metrics: ServerMetrics,
    ) -> None:
        self._engine, self._policy, self._admission = engine, policy, admission
        self._recorder, self._transcript, self._top_up = recorder, transcript, top_up
        self._feedback, self._reservoir = feedback, reservoir
        self._signals, self._recent, self._equality = signals, recent, equality
        self._rules, self._metrics = rules, metrics
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(
        self, reply_id: str, request: SamplingRequest, caller: Caller, lease: Lease, ticket: Ticket,
        prompt: Prompt, held: ExitStack, *, streams_first: bool = False,
    ) -> Inquiry:  # fmt: skip
        """Begin. What is `held` for the inquiry is let go of when all of it is over."""
        confidence = request.ratchet.confidence or self._rules.confidence
        inquiry = Inquiry(
            reply_id,
            request,
            caller,
            lease,
            ticket,
            Poll(self._equality, ticket.rollouts, confidence),
            prompt,
            self._rules.options(request, prompt),
            self._keep_out(request, caller, lease, ticket),
        )
        if streams_first:
            inquiry.first = asyncio.Future()
        inquiry.task = self._start(self._see_through(inquiry))
        inquiry.task.add_done_callback(lambda _: held.close())
        inquiry.task.add_done_callback(inquiry.ended)
        return inquiry

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _see_through(self, inquiry: Inquiry) -> None:
        try:
            await self._collect(inquiry)
        except EngineError as error:
            if not inquiry.outcome.done():
                raise
            log.warning("an answered question was not finished: %s", error)
        try:
            await self._settle(inquiry)
        except EngineReplyInvalid as error:
            self._metrics.groups["unusable"].inc()
            log.warning("a group is not recorded: %s", error)

    async def _collect(self, inquiry: Inquiry) -> None:
        """Draw until the vote is over, or until all is in where the learner wants it."""
        poll, deadline = inquiry.poll, inquiry.request.ratchet.deadline or self._rules.deadline
        try:
            async with asyncio.timeout(deadline):
                await self._draw(inquiry)
        except (TimeoutError, EngineError) as error:
            if inquiry.outcome.done() or len(poll.draws) < max(1, _QUORUM * poll.size):
                if isinstance(error, EngineError):
                    raise
                raise EngineTimeout(f"no answer within {deadline:g} s") from None
            inquiry.partial, inquiry.reason = True, inquiry.reason or "partial"
        if not inquiry.outcome.done():
            await self._conclude(inquiry)

    async def _draw(self, inquiry: Inquiry) -> None:
        if inquiry.first is None:
            await self._draw_waves(inquiry, inquiry.poll.size)
            return
        others = asyncio.create_task(self._draw_waves(inquiry, inquiry.poll.size - 1))
        try:
            if await self._add(inquiry, [await inquiry.first]):
                await others
        finally:
            others.cancel()
            await asyncio.gather(others, return_exceptions=True)

    async def _draw_waves(self, inquiry: Inquiry, count: int) -> None:
        """Draw up to `count` rollouts: all at once, or more only while the vote is open."""
        smallest = inquiry.request.ratchet.rollouts_min or self._rules.rollouts_min or count
        wave, retried = min(smallest, count), False
        while inquiry.drawn < count and not (inquiry.drawn and inquiry.outcome.done()):
            try:
                await self._draw_wave(inquiry, wave)
            except EngineUnavailable:
                if retried:
                    raise
                retried = True  # on another replica, if there is one
            wave = min(max(inquiry.drawn, 1), count - inquiry.drawn)

    async def _draw_wave(self, inquiry: Inquiry, count: int) -> None:
        options = {**inquiry.options, "n": count}
        if inquiry.reason is not None:  # nothing will be learnt from it, so they can be left out
            options.setdefault("logprobs", False)
        if "seed" in options:
            options["seed"] += inquiry.drawn  # as the engine counts on in a single request
        started = time.perf_counter()
        async with self._engine.draw(inquiry.lease.engine_name, inquiry.prompt, options) as batches:
            async for batch in batches:
                inquiry.waited += time.perf_counter() - started
                inquiry.drawn += len(batch)
                if not await self._add(inquiry, batch):
                    return
                started = time.perf_counter()

    async def _add(self, inquiry: Inquiry, batch: Sequence[Draw]) -> bool:
        """Count some more; False if nobody needs the others, so that the engine is told so."""
        poll = inquiry.poll
        await poll.add(batch)
        inquiry.news.set()
        enough = len(poll.draws) >= inquiry.request.n and poll.outstanding
        if enough and not inquiry.outcome.done() and await poll.decided():
            await self._conclude(inquiry)
        return not inquiry.outcome.done() or inquiry.reason is None

    async def _conclude(self, inquiry: Inquiry) -> None:
        """The vote is over: let the reply go out."""
        poll, vote = inquiry.poll, await inquiry.poll.vote()
        if vote.answer is None:
            inquiry.reason = inquiry.reason or "no_answer"
        if inquiry.reason is None:
            inquiry.reason = self._recorder.hindrance()
        outcome = Outcome(
            list(poll.draws), await poll.ballot(), vote, inquiry.lease, inquiry.reason
        )
        if inquiry.outcome.done():
            return
        if poll.outstanding > 0 and not inquiry.partial:
            self._metrics.votes_early.inc()
        inquiry.outcome.set_result(outcome)
        if vote.answer is not None and not self._recorder.refuses(inquiry.caller.client):
            answered = Answered(list(outcome.ballot.answers), vote.answer)
            self._feedback.remember(inquiry.reply_id, answered)

    async def _settle(self, inquiry: Inquiry) -> None:
        """Count the vote, and hand the group on."""
        poll, lease, caller = inquiry.poll, inquiry.lease, inquiry.caller
        await self._count(inquiry)
        if inquiry.reason is not None:
            return
        key = prompt_key(inquiry.prompt)
        passed = inquiry.request.passed_on(PASSED)
        self._reservoir.add(key, Query(inquiry.prompt, passed, client=pseudonym(caller.client)))
        rollouts = await self._transcript.rollouts(poll.draws)
        request = inquiry.request
        top_p, top_k = request.top_p or 1.0, max(0, request.top_k or 0)
        group = RolloutGroup(
            id=uuid.uuid4().hex,
            prompt=orjson.dumps(inquiry.prompt).decode(),
            prompt_ids=poll.draws[0].prompt_ids,
            rollouts=rollouts,
            policy_version=lease.version,
            sampling=Sampling(self._rules.temperature, top_p, top_k, request.token_limit or 0),
            client=caller.client,
            created_at=time.time(),
        )
        held = ExitStack()
        held.enter_context(self._policy.hold(lease.version))
        self._top_up.offer(
            Unfinished(group, lease.engine_name, inquiry.prompt, inquiry.options, held)
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

    async def _count(self, inquiry: Inquiry) -> None:
        """What all rollouts that were finished say."""
        poll, metrics = inquiry.poll, self._metrics
        vote, generated = await poll.vote(), poll.generated
        self._admission.finished(generated, vote.total)
        metrics.rollouts.inc(vote.total)
        if not inquiry.partial:
            metrics.rollouts_spared.inc(max(0, poll.outstanding))
        metrics.prompt_tokens.inc(len(poll.draws[0].prompt_ids))
        metrics.completion_tokens.inc(generated)
        metrics.votes["no_answer" if vote.answer is None else "answered"].inc()
        if vote.answer is not None:
            metrics.agreement.add(vote.agreement)
        if not inquiry.lease.pinned:
            self._signals.note(inquiry.lease.version, VoteRecord.of(vote, generated))
        self._recent.add(inquiry, vote)
