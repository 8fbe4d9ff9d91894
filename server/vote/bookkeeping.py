"""What is kept of a vote: for the learner, the gate, feedback, metrics and the live page."""

import logging
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass

import orjson

from adapter.store.clients import pseudonym
from rewards.rollouts import RolloutGroup, Sampling
from server.api.replies import Outcome
from server.api.requests import FORWARDED, SamplingRequest
from server.engine.base import EngineReplyInvalid
from server.metrics import ServerMetrics
from server.policy.leases import Policy
from server.policy.live_signals import LiveSignals
from server.policy.reasons import Unrecorded
from server.policy.stats import VoteRecord
from server.recording.feedback import Answered, Feedback
from server.recording.recorder import Recorder
from server.recording.reservoir import Query, Reservoir
from server.recording.transcript import Transcript
from server.vote.admission import Admission
from server.vote.recent_votes import RecentVotes
from server.vote.rules import prompt_key
from server.vote.session import Admitted, Caller, VoteSession
from server.vote.top_up import TopUp, Unfinished

log = logging.getLogger("ratchet.voted")


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
    signals: LiveSignals
    recent: RecentVotes
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
        return None if admitted.ticket.records else Unrecorded.SHED

    async def conclude(self, session: VoteSession) -> None:
        """End the vote, which releases the reply."""
        tally, vote = session.tally, await session.tally.vote()
        if vote.answer is None:
            session.reason = session.reason or Unrecorded.NO_ANSWER
        if session.reason is None and self.reservoir.holds_out(prompt_key(session.prompt)):
            session.reason = Unrecorded.HELD_OUT
        if session.reason is None:
            session.reason = self.recorder.refusal()
        counted, lease = await tally.current(), session.lease
        outcome = Outcome(list(tally.draws), counted, vote, lease, session.reason)
        if session.outcome.done():
            return
        if tally.outstanding > 0 and not session.partial:
            self.metrics.votes_early.inc()
        session.outcome.set_result(outcome)
        if vote.answer is not None and not self.recorder.has_opted_out(session.caller.client):
            answered = Answered(list(counted.answers), vote.answer, tally.kind.name)
            self.feedback.remember(session.reply.id, answered)

    async def settle(self, session: VoteSession) -> None:
        """Count the vote, and hand the group on if it is to be recorded."""
        await self._count(session)
        if session.reason not in (None, Unrecorded.HELD_OUT):
            return
        tally, request, lease = session.tally, session.reply.request, session.lease
        client, kind = pseudonym(session.caller.client), tally.kind.name
        query = Query(session.prompt, request.forwarded(FORWARDED), client=client, answer_kind=kind)
        self.reservoir.add(prompt_key(session.prompt), query)
        if session.reason is Unrecorded.HELD_OUT:
            return
        try:
            rollouts = await self.transcript.rollouts(tally.draws)
        except EngineReplyInvalid as error:
            self.metrics.groups[Unrecorded.UNUSABLE].inc()
            log.warning("a group is not recorded: %s", error)
            return
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
            answer_kind=kind,
        )
        held = ExitStack()
        held.enter_context(self.policy.hold(lease.version))
        asked = session.engine_request(session.options, session.engine_seconds)
        self.top_up.add(Unfinished(group, asked, held))

    async def _count(self, session: VoteSession) -> None:
        """Count all rollouts that finished, and the vote over them."""
        tally, metrics = session.tally, self.metrics
        vote, generated = await tally.vote(), sum(draw.tokens for draw in tally.draws)
        self.admission.finished(generated, vote.total)
        metrics.rollouts.inc(vote.total)
        if not session.partial:
            metrics.rollouts_spared.inc(max(0, tally.outstanding))
        metrics.prompt_tokens.inc(len(tally.draws[0].prompt_ids))
        metrics.completion_tokens.inc(generated)
        metrics.votes["no_answer" if vote.answer is None else "answered"].inc()
        if vote.answer is not None:
            metrics.agreement.add(vote.agreement)
        if not session.lease.pinned:
            self.signals.add(session.lease.version, VoteRecord.of(vote, generated))
        self.recent.add(session, vote)
