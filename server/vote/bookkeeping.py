"""What is kept of a vote: for the learner, the gate, feedback, metrics and the live page."""

import logging
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import orjson

from adapter.store.clients import pseudonyms
from rewards.answer_choice import AnswerChoice
from rewards.answers.tally import Tally, disagreement, first_of
from rewards.consensus import kind_of
from rewards.rollouts import Reflection, RolloutGroup, Sampling
from rewards.votes import Vote, take_vote
from server.api.replies import Outcome, Served
from server.api.requests import FORWARDED, SamplingRequest
from server.engine.base import Draw, EngineReplyInvalid
from server.metrics import ServerMetrics
from server.policy.governor import Governor
from server.policy.leases import Policy
from server.policy.live_signals import LiveSignals
from server.policy.reasons import Unrecorded
from server.policy.spending import Spending
from server.policy.stats import VoteRecord
from server.recording.feedback import Answered, Feedback
from server.recording.recorder import Recorder
from server.recording.reservoir import Query, Reservoir
from server.recording.trainable import Trainable
from server.recording.transcript import Transcript
from server.vote.admission import Admission
from server.vote.recent_votes import RecentVotes
from server.vote.rules import query_key
from server.vote.served import served_of
from server.vote.session import Admitted, Caller, VoteSession
from server.vote.top_up import TopUp, Unfinished

log = logging.getLogger("ratchet.voted")

MAX_PROMPT_CHARS = 131_072
"""A longer prompt is answered, and neither learnt from nor kept for the gate."""
_MAX_ANSWERS_CHARS = 20_000
"""Longer answers of a vote, JSON for example, are not kept for feedback."""
_FOR_THE_GATE = frozenset({Unrecorded.HELD_OUT, Unrecorded.AGREED, Unrecorded.RESTS})
"""Of these questions nothing is learnt; that versions are compared on them is the more honest."""
_MAX_KEPT_BYTES = 20_000
"""Larger queries are not kept with them: then feedback is for metrics alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookkeeping:
    """One per server process."""

    policy: Policy
    admission: Admission
    recorder: Recorder
    transcript: Transcript
    top_up: TopUp
    feedback: Feedback
    reservoir: Reservoir
    trainable: Trainable
    signals: LiveSignals
    recent: RecentVotes
    governor: Governor
    spending: Spending
    metrics: ServerMetrics

    def exclusion(
        self, request: SamplingRequest, caller: Caller, admitted: Admitted
    ) -> Unrecorded | None:
        """Why the request's rollouts are not recorded, whatever they are; or None."""
        if not caller.train or request.opted_out or self.recorder.has_opted_out(caller.client):
            return Unrecorded.OPTED_OUT
        if admitted.lease.pinned:
            return Unrecorded.PINNED_VERSION
        if (request.top_p or 1.0) < 1.0 or (request.top_k or 0) > 0:
            return Unrecorded.TRUNCATED_SAMPLING
        if request.alters_sampling:
            return Unrecorded.ALTERED_SAMPLING
        if request.bends_sampling:
            self.metrics.groups[Unrecorded.GRAMMAR].inc()
            return Unrecorded.GRAMMAR
        if request.size > MAX_PROMPT_CHARS:
            self.metrics.groups[Unrecorded.TOO_LARGE].inc()
            return Unrecorded.TOO_LARGE
        return None if admitted.ticket.records else Unrecorded.SHED

    async def chooses(self, session: VoteSession) -> bool:
        """Whether the rest of a question that is still open is drawn for the learner: if its
        rollouts disagree."""
        if not (session.governed and session.plan.learns and session.reason is None):
            return False
        tally = await session.tally.current()
        return disagreement(tally) > 0.0 and not self.reservoir.holds_out(session.prompt)

    async def conclude(self, session: VoteSession) -> None:
        """End the vote, which releases the reply."""
        tally, counted = session.tally, await session.tally.current()
        vote = take_vote(counted)
        served = await served_of(tally, counted, vote)
        if (chosen := session.chosen) is not None:
            row, kind = counted.members[chosen.cluster][0], kind_of(tally.kind, chosen.answer)
            served = replace(served, row=row, answer=chosen.answer, kind=kind, reason=None)
        if session.outcome.done():
            return
        session.served = served
        self._heed_opt_out(session)
        if session.reason is None:
            session.reason = self._refusal(session.answer, served, vote)
        if session.reason is None and self.reservoir.holds_out(session.prompt):
            session.reason = Unrecorded.HELD_OUT
            self.metrics.groups[Unrecorded.HELD_OUT].inc()
        if session.reason is None and not session.chosen_at:
            session.reason = _unchosen(session, counted)
            if session.reason is not None:
                self.metrics.groups[session.reason].inc()
        if session.reason is None:
            session.reason = self.recorder.refusal()
        outcome = Outcome(
            draws=tally.draws[: len(counted)],
            tally=counted,
            vote=vote,
            served=served,
            lease=session.lease,
            reason=session.reason,
            reflection=session.reflection,
            chosen=chosen is not None,
        )
        if tally.outstanding > 0 and not session.partial:
            self.metrics.votes_early.inc()
        session.outcome.set_result(outcome)
        size = sum(len(answer or "") for answer in counted.answers)
        kept = session.reason is not Unrecorded.OPTED_OUT and size <= _MAX_ANSWERS_CHARS
        if served.answer is not None and kept:
            whose = pseudonyms(session.caller.client)
            query = _query(session, session.answer)
            known = query if query.bytes <= _MAX_KEPT_BYTES else None
            answers = list(counted.answers)
            answered = Answered(answers, served.answer, session.answer, *whose, known)
            self.feedback.remember(session.reply.id, answered)

    def _heed_opt_out(self, session: VoteSession) -> None:
        """Keep nothing of a session whose client has opted out since it began. Call it after every
        wait, before anything is kept: memory is cleared of a client when it opts out, not later."""
        if self.recorder.has_opted_out(session.caller.client):
            session.reason = Unrecorded.OPTED_OUT

    def _refusal(self, answer: AnswerChoice, served: Served, vote: Vote) -> Unrecorded | None:
        """Why a vote's rollouts teach nothing, counted; or None."""
        prose = served.reason is Unrecorded.MEDOID and served.kind in self.trainable.kinds
        refusal = None if prose else served.reason
        refusal = refusal or self.trainable.refusal(served.kind, vote.agreement)
        if refusal is not None:
            self.metrics.groups[refusal].inc()
        return refusal

    async def settle(self, session: VoteSession) -> None:
        """Count the vote, and hand the group on if it is to be recorded."""
        await self._count(session)
        self._heed_opt_out(session)
        if session.reason is not None and session.reason not in _FOR_THE_GATE:
            return
        tally, request, lease = session.tally, session.reply.request, session.lease
        prose = session.served is not None and session.served.kind == "text"
        answer = AnswerChoice("text") if prose else session.answer
        query = _query(session, answer)
        self.reservoir.add(query_key(query), query)
        if session.reason is not None:
            return
        try:
            rollouts = await self.transcript.rollouts(tally.draws[session.chosen_at :])
        except EngineReplyInvalid as error:
            self.metrics.groups[Unrecorded.UNUSABLE].inc()
            log.warning("a group is not recorded: %s", error)
            return
        chosen = session.chosen
        temperature, top_p = session.options["temperature"], request.top_p or 1.0
        top_k, limit = max(0, request.top_k or 0), request.token_limit or 0
        group = RolloutGroup(
            id=uuid.uuid4().hex,
            prompt=orjson.dumps(session.prompt).decode(),
            prompt_ids=tally.draws[0].prompt_ids,
            rollouts=rollouts,
            policy_version=lease.version,
            sampling=Sampling(temperature, top_p, top_k, limit),
            client=session.caller.client,
            created_at=time.time(),
            answer=answer,
            reflection=session.reflection and Reflection(chosen and chosen.answer),
        )
        held = ExitStack()
        held.enter_context(self.policy.hold(lease.version))
        asked = session.engine_request(session.options, session.engine_seconds)
        size = len(orjson.dumps(query.options))
        self.top_up.add(Unfinished(group, asked, held, size, session.chosen_at))

    async def _count(self, session: VoteSession) -> None:
        """Count all rollouts that finished, and the vote over them."""
        tally, metrics = session.tally, self.metrics
        counted = await tally.current()
        vote, generated = take_vote(counted), _tokens(tally.draws)
        self._heed_opt_out(session)
        self.admission.finished(generated, vote.total)
        metrics.rollouts.inc(vote.total)
        if not session.partial:
            metrics.rollouts_spared.inc(max(0, tally.outstanding))
        metrics.prompt_tokens.inc(len(tally.draws[0].prompt_ids))
        if session.reflection is not None:
            metrics.prompt_tokens.inc(len(session.reflection.prompt_ids))
            generated += session.reflection.tokens
        metrics.completion_tokens.inc(generated)
        served = session.served
        assert served is not None
        replies = session.outcome.result().ranked[: session.reply.request.n]
        answered = _tokens(replies)
        metrics.answered_tokens.inc(answered)
        self.spending.generated(generated)
        self.spending.answered(answered, generated / vote.total * len(replies))
        metrics.votes[served.reason or "answered"].inc()
        metrics.kinds[served.kind].inc()
        self._observe(session, counted)
        self.recent.add(session, vote)

    def _observe(self, session: VoteSession, counted: Tally) -> None:
        """Remember how a question's rollouts agree: those that were drawn before anything was
        decided by them, where there are two. One alone says nothing."""
        size, plan = min(session.observed, len(counted)), session.plan
        first = first_of(counted, size)
        vote, whole = take_vote(first), size == session.observed
        agreement = vote.agreement
        if plan.confidence < 1.0:
            apart = disagreement(first) if size > 1 and whole else None
            gone = self.recorder.has_opted_out(session.caller.client)
            if not (session.lease.pinned or gone):
                self.governor.learn(session.slices, apart, session.tally.needed(counted))
            if apart is None:
                return
            agreement = 1.0 - apart  # whatever the size of the wave
        record = replace(VoteRecord.of(vote, _tokens(session.tally.draws[:size])),
                         agreement=agreement)  # fmt: skip
        for _ in range(plan.stands_for):
            if session.served is not None and session.served.answer is not None:
                self.metrics.agreement.add(agreement)
            if not (session.lease.pinned or session.reason is Unrecorded.OPTED_OUT):
                self.signals.add(session.lease.version, record)


def _unchosen(session: VoteSession, counted: Tally) -> Unrecorded | None:
    """Why nothing is learnt from a question that was not chosen for it after a wave; None where
    all its rollouts came in one wave, and are not all alike."""
    if not session.plan.learns:
        return Unrecorded.RESTS
    if session.plan.confidence < 1.0 and (session.governed or not disagreement(counted)):
        return Unrecorded.AGREED
    return None


def _tokens(draws: Sequence[Draw]) -> int:
    return sum(draw.tokens for draw in draws)


def _query(session: VoteSession, answer: AnswerChoice) -> Query:
    """What a session asks, as the gate asks it again."""
    client, holder = pseudonyms(session.caller.client)
    options = session.reply.request.forwarded(FORWARDED)
    return Query(session.prompt, options, client=client, answer=answer, holder=holder)
