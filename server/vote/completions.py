"""Answers completion requests of both kinds: by a vote, or passed through."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack, aclosing
from typing import Any

import orjson

from server.api.errors import ApiError
from server.api.replies import completion_of, events_of, progress_of, sse
from server.api.requests import SamplingRequest
from server.engine.base import Engine
from server.policy.leases import Policy, UnknownModel
from server.vote.admission import Admission
from server.vote.first_rollout import FirstRollout
from server.vote.passthrough import Passthrough
from server.vote.rules import VoteRules
from server.vote.session import Caller, Entry, VoteSession
from server.vote.voted import VotedAnswers

KEEP_ALIVE_SECONDS = 1.0
_KEEP_ALIVE = b": keep-alive\n\n"


class Stopwatch:
    """Seconds of a request, with those spent waiting for the engine apart."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.engine = 0.0

    @property
    def overhead(self) -> float:
        """Seconds so far that were ours."""
        return time.perf_counter() - self._started - self.engine


class Completions:
    """The service behind the completion routes. Raises ApiError, Overloaded, EngineError."""

    def __init__(
        self,
        *,
        engine: Engine,
        policy: Policy,
        admission: Admission,
        voted: VotedAnswers,
        rules: VoteRules,
    ) -> None:
        self._engine, self._policy, self._admission = engine, policy, admission
        self._voted, self._rules = voted, rules
        self._passthrough = Passthrough(engine)

    def check(self, request: SamplingRequest) -> None:
        """Raise ApiError for what cannot be served, before anything is sent."""
        limit, asked = self._rules.max_rollouts, request.ratchet
        for name, count in (("rollouts", asked.rollouts), ("rollouts_min", asked.rollouts_min)):
            if (count or 1) > limit:
                raise ApiError(400, f"at most {limit}", param=f"ratchet.{name}")
        if request.n > limit:
            raise ApiError(400, f"at most {limit}", param="n")
        if asked.stream == "first" and request.n > 1:
            raise ApiError(400, "n must be 1 where the first rollout is streamed", param="n")
        if request.model not in self.names():
            raise _unknown_model(request.model)

    def names(self) -> list[str]:
        """Model names that can be asked for."""
        return [self._policy.name, *map(self._policy.name_of, self._policy.loaded)]

    async def reply(
        self, request: SamplingRequest, caller: Caller, watch: Stopwatch
    ) -> dict[str, Any]:
        """The completion object."""
        if request.single:
            with ExitStack() as held:
                lease = self._enter(request, held).lease
                started = time.perf_counter()
                seconds = self._seconds(request)
                completion = await self._passthrough.reply(request, lease, seconds)
                watch.engine += time.perf_counter() - started
                return completion
        session = self._ask(request, caller)
        try:
            await asyncio.wait([session.outcome])
        finally:
            session.abandon()
        outcome = session.outcome.result()
        watch.engine += session.waited
        return completion_of(session.reply_id, request, outcome)

    async def events(
        self, request: SamplingRequest, caller: Caller, used: Callable[[int], None]
    ) -> AsyncGenerator[bytes, None]:
        """Server-sent events of a streamed reply; `used` is told the tokens it took."""
        if request.single:
            with ExitStack() as held:
                lease = self._enter(request, held).lease
                stream = self._passthrough.events(request, lease, self._seconds(request))
                async with aclosing(stream) as batches:
                    async for events in batches:
                        used(events.count(b"data:"))  # about a token each
                        yield events
            return
        if request.ratchet.stream == "first":
            async for events in self._first_events(request, caller, used):
                yield events
            return
        session = self._ask(request, caller)
        try:
            if request.ratchet.stream == "progress":
                async for event in self._progress(session):
                    yield event
            while not (await asyncio.wait([session.outcome], timeout=KEEP_ALIVE_SECONDS))[0]:
                yield _KEEP_ALIVE
        finally:
            session.abandon()
        completion = completion_of(session.reply_id, request, session.outcome.result())
        used(completion["usage"]["total_tokens"])
        for event in events_of(completion, request):
            yield event

    async def _progress(self, session: VoteSession) -> AsyncIterator[bytes]:
        """How the vote stands, each time that more rollouts are in, until it is over."""
        outcome, news, tally = session.outcome, session.news, session.tally
        outcome.add_done_callback(lambda _: news.set())
        while not outcome.done():
            news.clear()
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await news.wait()
            except TimeoutError:
                yield _KEEP_ALIVE
                continue
            if tally.draws and not outcome.done():
                vote = await tally.vote()
                yield sse(progress_of(session.reply_id, session.request, vote, tally.size))

    async def _first_events(
        self, request: SamplingRequest, caller: Caller, used: Callable[[int], None]
    ) -> AsyncIterator[bytes]:
        """The first rollout as it is written, and the vote on its last chunk."""
        session = self._ask(request, caller, streams_first=True)
        first = FirstRollout(session)
        try:
            seconds = self._seconds(request)
            async with self._engine.write(session.asked(session.options, seconds)) as batches:
                async for pieces in batches:
                    if chunks := first.chunks(pieces):
                        yield chunks
            while not (await asyncio.wait([session.outcome], timeout=KEEP_ALIVE_SECONDS))[0]:
                yield _KEEP_ALIVE
            outcome = session.outcome.result()
            used(outcome.usage()["total_tokens"])
            for event in first.ending(outcome):
                yield event
        finally:
            first.give_up()
            session.abandon()

    def _seconds(self, request: SamplingRequest) -> float:
        """How long the answer is of use."""
        return request.ratchet.deadline or self._rules.deadline

    def _ask(
        self, request: SamplingRequest, caller: Caller, *, streams_first: bool = False
    ) -> VoteSession:
        with ExitStack() as entering:
            entry = self._enter(request, entering)
            held = entering.pop_all()
        return self._voted.ask(request, caller, entry, held, streams_first=streams_first)

    def _enter(self, request: SamplingRequest, held: ExitStack) -> Entry:
        """Room and a version for one request. Raises ApiError, Overloaded."""
        prompt = request.prompt_for_engine
        chars = len(prompt) if isinstance(prompt, str) else len(orjson.dumps(prompt))
        rollouts = request.n
        if not request.single:
            rollouts = max(request.n, request.ratchet.rollouts or self._rules.rollouts)
        limit = request.token_limit
        ticket = held.enter_context(self._admission.admit(limit, chars, rollouts))
        try:
            lease = held.enter_context(self._policy.lease(request.model))
        except UnknownModel:
            raise _unknown_model(request.model) from None
        return Entry(lease, ticket, prompt)


def _unknown_model(model: str) -> ApiError:
    return ApiError(
        404,
        f"The model `{model[:64]}` does not exist or is no longer loaded; see /v1/models",
        param="model",
        code="model_not_found",
    )
