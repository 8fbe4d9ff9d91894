"""Answers completion requests of every kind: by a vote, or passed through."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from rewards.answer_choice import ChoiceInvalid
from rewards.votes import take_vote
from server.api.errors import ApiError
from server.api.functions import in_older_form
from server.api.replies import Reply, sse
from server.api.requests import SamplingRequest
from server.charge import Cost, CountTokens, charged, uncounted
from server.engine.base import Draw, Engine, EngineUnavailable
from server.policy.leases import Lease, Policy
from server.vote.admission import Admission
from server.vote.passthrough import pass_through, stream_through
from server.vote.rules import VoteRules
from server.vote.session import Admitted, Caller, VoteSession
from server.vote.several import SeveralVotes
from server.vote.voted import VotedAnswers

KEEP_ALIVE_SECONDS = 1.0
KEEP_ALIVE = b": keep-alive\n"
"""A comment without an empty line, which some decoders take for the end of an event, an empty one.
Others lose the event that a comment precedes, so a blank one follows the last of them."""


class Stopwatch:
    """Seconds of a request, with those spent waiting for the engine apart."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.engine = 0.0

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Count the time of the block as spent waiting for the engine."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.engine += time.perf_counter() - started

    @property
    def overhead(self) -> float:
        """Seconds so far that were not spent waiting for the engine."""
        return time.perf_counter() - self._started - self.engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Completions:
    """The service behind the completion routes. Raises ApiError, UnknownModel, Overloaded,
    EngineError."""

    engine: Engine
    policy: Policy
    admission: Admission
    voted: VotedAnswers
    rules: VoteRules

    def cost(self, request: SamplingRequest) -> Cost:
        """What it costs by estimate."""
        each = request.n if request.single else self.voted.rollouts(request)
        rollouts = each * len(request.parts)
        return self.admission.cost(
            request.token_limit, request.size, rollouts, request.least_tokens
        )

    def check(self, request: SamplingRequest) -> None:
        """Raise ApiError or UnknownModel for what cannot be served, before anything is sent."""
        self.policy.resolve(request.model)
        limit, ours = self.rules.max_rollouts, request.ratchet
        counts = [("ratchet.rollouts", ours.rollouts), ("ratchet.rollouts_min", ours.rollouts_min)]
        for name, count in (*counts, ("n", request.n)):
            if (count or 1) > limit:
                raise ApiError(400, f"at most {limit}", param=name)
        try:
            self.voted.kinds.of(request.answer(self.rules.answer))
        except ChoiceInvalid as error:
            field = "" if error.field == "kind" else f".{error.field}"
            raise ApiError(400, str(error), param=f"ratchet.answer{field}") from None
        if ours.stream == "first" and request.n > 1:
            raise ApiError(400, "n must be 1 where the first rollout is streamed", param="n")

    async def reply(
        self,
        request: SamplingRequest,
        caller: Caller,
        stopwatch: Stopwatch,
        count: CountTokens = uncounted,
    ) -> dict[str, Any]:
        """The completion object."""
        if request.single:
            with (
                self._admitted(request) as admitted,
                charged(admitted.ticket.cost, count) as charge,
            ):
                seconds = self.rules.seconds(request)
                with stopwatch.waiting():
                    completion = await pass_through(self.engine, request, admitted.lease, seconds)
                charge.settle(completion["usage"]["total_tokens"])
                return completion
        if len(request.parts) > 1:
            with self._several(request, caller, count) as votes:
                completion = await votes.completion()
            stopwatch.engine += votes.waited
            return completion
        with self._begun(request, caller, count) as session:
            await asyncio.wait([session.outcome])
            stopwatch.engine += session.waited
            return session.reply.completion(session.outcome.result())

    def events(
        self, request: SamplingRequest, caller: Caller, count: CountTokens
    ) -> AsyncGenerator[bytes]:
        """Server-sent events of a streamed reply."""
        if request.single:
            return self._single_events(request, count)
        if len(request.parts) > 1:
            return self._several_events(request, caller, count)
        if request.ratchet.stream == "first":
            return self._first_events(request, caller, count)
        return self._voted_events(request, caller, count)

    async def _single_events(
        self, request: SamplingRequest, count: CountTokens
    ) -> AsyncGenerator[bytes]:
        with self._admitted(request) as admitted, charged(admitted.ticket.cost, count) as charge:
            seconds = self.rules.seconds(request)
            stream = stream_through(self.engine, request, admitted.lease, seconds, charge)
            async with aclosing(stream) as batches:
                async for events in batches:
                    yield events

    async def _voted_events(
        self, request: SamplingRequest, caller: Caller, count: CountTokens
    ) -> AsyncGenerator[bytes]:
        with self._begun(request, caller, count) as session:
            if request.ratchet.stream == "progress":
                async for event in self._progress(session):
                    yield event
            async for comment in _waiting(session):
                yield comment
            for event in session.reply.events(session.outcome.result()):
                yield event

    async def _progress(self, session: VoteSession) -> AsyncIterator[bytes]:
        """The vote so far, each time that more rollouts are in, until it is over."""
        outcome, arrived, tally = session.outcome, session.arrived, session.tally
        outcome.add_done_callback(lambda _: arrived.set())
        quiet = False
        while not outcome.done():
            arrived.clear()
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await arrived.wait()
            except TimeoutError:
                quiet = True
                yield KEEP_ALIVE
                continue
            if quiet:
                quiet = False
                yield session.reply.blank()
            if tally.draws and not outcome.done():
                counted = await tally.current()
                distribution = await tally.distribution(counted)
                asked = session.asked + (session.first is not None)
                yield session.reply.progress(take_vote(counted), distribution, asked)

    async def _several_events(
        self, request: SamplingRequest, caller: Caller, count: CountTokens
    ) -> AsyncGenerator[bytes]:
        """Several prompts: each vote when it is over."""
        quiet = False
        with self._several(request, caller, count) as votes:
            async with aclosing(votes.chunks(KEEP_ALIVE_SECONDS)) as batches:
                async for events in batches:
                    if events is None:
                        quiet = True
                        yield KEEP_ALIVE
                        continue
                    if quiet:
                        quiet = False
                        yield votes.reply.blank()
                    yield b"".join(events)

    @contextmanager
    def _several(
        self, request: SamplingRequest, caller: Caller, count: CountTokens
    ) -> Generator[SeveralVotes]:
        """A vote for each of several prompts; abandoned if the block is left before they end."""
        reply = Reply.to(request)
        judged = self.rules.judges(request)
        with ExitStack() as begun, self.policy.lease(request.model, judged=judged) as lease:
            sessions = [
                begun.enter_context(
                    self._begun(
                        part,
                        caller,
                        count,
                        lease=lease,
                        reply=Reply(part, f"{reply.id}-{at}", reply.created),
                    )
                )
                for at, part in enumerate(request.parts)
            ]
            yield SeveralVotes(reply, sessions)

    async def _first_events(
        self, request: SamplingRequest, caller: Caller, count: CountTokens
    ) -> AsyncGenerator[bytes]:
        """The first rollout as it is written, and the vote on its last chunk."""
        first, last = asyncio.Future[Draw](), dict[str, Any]()
        hidden = {} if request.wanted_logprobs is not None else {"logprobs": None}
        shaped = in_older_form if request.legacy else dict[str, Any]
        with self._begun(request, caller, count, first) as session:
            asked = session.engine_request(session.options, session.deadline)
            async with self.engine.write(asked) as batches:
                async for pieces in batches:
                    written = ({**piece.choice, **hidden} for piece in pieces)
                    chunks = [session.reply.chunk([each]) for each in map(shaped, written)]
                    if pieces and (draw := pieces[-1].draw) is not None:
                        last = chunks.pop()
                        if not first.done():
                            first.set_result(draw)
                    if chunks:
                        yield b"".join(map(sse, chunks))
            async for comment in _waiting(session):
                yield comment
            outcome = session.outcome.result()
            ending = [{**last, "ratchet": outcome.extension()}]
            for event in session.reply.ending(ending, outcome):
                yield event

    @contextmanager
    def _begun(
        self,
        request: SamplingRequest,
        caller: Caller,
        count: CountTokens,
        first: asyncio.Future[Draw] | None = None,
        *,
        lease: Lease | None = None,
        reply: Reply | None = None,
    ) -> Generator[VoteSession]:
        """A vote that is charged for; abandoned if the block is left before it ends."""
        held = ExitStack()
        admitted = held.enter_context(self._admitted(request, lease))
        session = self.voted.begin(reply or Reply.to(request), caller, admitted, held, first)
        error: BaseException | None = None
        try:
            yield session
        except BaseException as raised:
            error = raised
            raise
        finally:
            if first is not None and not first.done():
                first.set_exception(EngineUnavailable("the first rollout was broken off"))
            count(session.tokens(error))
            session.abandon()

    @contextmanager
    def _admitted(
        self, request: SamplingRequest, lease: Lease | None = None
    ) -> Generator[Admitted]:
        """Hold room and a version, the one of `lease` if it is given, for one request. Raises
        Overloaded, UnknownModel."""
        with (
            self.admission.admit(self.cost(request), whole=request.single) as ticket,
            self._held(request, lease) as held,
        ):
            yield Admitted(held, ticket, request.prompt_for_engine)

    @contextmanager
    def _held(self, request: SamplingRequest, lease: Lease | None) -> Generator[Lease]:
        """A lease of one's own: on a model's version, or on the one that is leased already."""
        if lease is None:
            judged = self.rules.judges(request)
            with self.policy.lease(request.model, judged=judged) as own:
                yield own
        else:
            with self.policy.hold(lease.version):
                yield lease


async def _waiting(session: VoteSession) -> AsyncIterator[bytes]:
    """Comments until the vote is over, and a blank chunk after them."""
    quiet = False
    while not (await asyncio.wait([session.outcome], timeout=KEEP_ALIVE_SECONDS))[0]:
        quiet = True
        yield KEEP_ALIVE
    if quiet and session.outcome.exception() is None:
        yield session.reply.blank()
