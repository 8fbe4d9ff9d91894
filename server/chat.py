"""One chat request: lease a version, sample, vote, reply, hand the group to the recorder."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from adapter.clients import pseudonym
from rewards.equality import Equality
from rewards.rollouts import RolloutGroup, Sampling
from rewards.votes import Vote, take_vote
from server.engine import Engine, EngineRefused, EngineUnavailable, Sample
from server.errors import ApiError
from server.live_signals import LiveSignals
from server.metrics import ServerMetrics
from server.policy import Lease, Policy, UnknownModel
from server.policy_stats import VoteRecord
from server.recorder import Recorder
from server.replies import chunks_of, completion_of, extension_of, new_id, ranked, sse
from server.reservoir import Query, Reservoir
from server.schema import PASSED, PASSED_SINGLE, ChatRequest
from server.topk_entropies import with_entropies
from server.voting import ballot_of

KEEP_ALIVE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """Rollouts per query by default and at most, and the temperature votes are sampled at.

    `top_logprobs` are recorded as entropies over a vocabulary of `vocab_size`; 0 for none.
    """

    rollouts: int
    max_rollouts: int
    temperature: float
    top_logprobs: int
    vocab_size: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `client` for influence limits, `train` False to stay out of the buffer."""

    client: str = "anonymous"
    train: bool = True


class Stopwatch:
    """Seconds of a request, with those spent waiting for the engine apart."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.engine = 0.0

    @property
    def overhead(self) -> float:
        """Seconds so far that were ours."""
        return time.perf_counter() - self._started - self.engine


class ChatService:
    """Answers chat requests. Raises ApiError and EngineError."""

    def __init__(
        self,
        engine: Engine,
        policy: Policy,
        recorder: Recorder,
        reservoir: Reservoir,
        signals: LiveSignals,
        equality: Equality,
        limits: ChatLimits,
        metrics: ServerMetrics,
        on_forgotten: Callable[[], None],
    ) -> None:
        self._engine, self._policy = engine, policy
        self._on_forgotten = on_forgotten
        self._recorder, self._reservoir, self._signals = recorder, reservoir, signals
        self._equality = equality
        self._limits, self._metrics = limits, metrics

    def check(self, request: ChatRequest) -> None:
        """Raise ApiError for what cannot be served, before anything is sent."""
        limit = self._limits.max_rollouts
        if (request.ratchet.rollouts or 1) > limit:
            raise ApiError(400, f"at most {limit}", param="ratchet.rollouts")
        most = limit if request.single else (request.ratchet.rollouts or limit)
        if request.n > most:
            raise ApiError(400, f"n may be at most {most} here", param="n")
        if request.model not in self.names():
            raise _unknown_model(request.model)

    def names(self) -> list[str]:
        """Model names that can be asked for."""
        return [self._policy.name, *map(self._policy.name_of, self._policy.loaded)]

    async def reply(self, request: ChatRequest, caller: Caller, watch: Stopwatch) -> dict[str, Any]:
        """The chat completion object."""
        with self._lease(request.model) as lease:
            answer = self._single if request.single else self._voted
            return await answer(request, caller, lease, watch)

    async def events(
        self, request: ChatRequest, caller: Caller, watch: Stopwatch
    ) -> AsyncIterator[bytes]:
        """Server-sent events of a streamed reply."""
        with self._lease(request.model) as lease:
            if request.single:
                async for event in self._stream_single(request, lease):
                    yield event
                return
            voting = asyncio.create_task(self._voted(request, caller, lease, watch))
            try:
                while not (await asyncio.wait({voting}, timeout=KEEP_ALIVE_SECONDS))[0]:
                    yield b": keep-alive\n\n"
                completion = voting.result()
            finally:
                voting.cancel()
            for chunk in chunks_of(completion, request):
                yield sse(chunk)
            yield b"data: [DONE]\n\n"

    @contextmanager
    def _lease(self, model: str) -> Generator[Lease, None, None]:
        """A lease for one request; what goes wrong with the model's name becomes its error."""
        try:
            with self._policy.lease(model) as lease:
                yield lease
        except UnknownModel:
            raise _unknown_model(model) from None
        except EngineRefused as error:
            if error.status != 404:
                raise
            # We know the model, so the engine has restarted and lost its adapters.
            self._on_forgotten()
            raise EngineUnavailable("the engine has lost an adapter") from None

    async def _single(
        self, request: ChatRequest, _: Caller, lease: Lease, watch: Stopwatch
    ) -> dict[str, Any]:
        started = time.perf_counter()
        completion = await self._engine.complete(self._single_body(request, lease))
        watch.engine += time.perf_counter() - started
        self._metrics.tokens.inc(completion["usage"]["completion_tokens"])
        extension = extension_of("single", request.n, lease, recorded=False, reason="single")
        return {**completion, "id": new_id(), "model": request.model, "ratchet": extension}

    async def _stream_single(self, request: ChatRequest, lease: Lease) -> AsyncIterator[bytes]:
        body = self._single_body(request, lease) | {"stream": True}
        if request.stream_options is not None:
            body["stream_options"] = request.stream_options.model_dump(exclude_none=True)
        reply_id = new_id()
        extension = extension_of("single", request.n, lease, recorded=False, reason="single")
        async with self._engine.stream(body) as chunks:
            async for chunk in chunks:
                chunk |= {"id": reply_id, "model": request.model}
                if any(choice.get("finish_reason") for choice in chunk["choices"]):
                    chunk["ratchet"] = extension
                yield sse(chunk)
        yield b"data: [DONE]\n\n"

    def _single_body(self, request: ChatRequest, lease: Lease) -> dict[str, Any]:
        messages = request.raw_messages()
        passed = request.passed_on(PASSED + PASSED_SINGLE)
        return {"model": lease.engine_name, "messages": messages, **passed}

    async def _voted(
        self, request: ChatRequest, caller: Caller, lease: Lease, watch: Stopwatch
    ) -> dict[str, Any]:
        messages = request.raw_messages()
        passed = request.passed_on(PASSED)
        options: dict[str, Any] = passed | {
            "n": request.ratchet.rollouts or max(request.n, self._limits.rollouts),
            "temperature": self._limits.temperature,
        }
        if request.top_p is not None:
            options["top_p"] = request.top_p
        if request.top_k is not None:
            options["top_k"] = request.top_k
        if request.seed is not None:
            options["seed"] = _derived_seed(request.seed, messages)
        if tops := max(request.top_logprobs or 0, self._limits.top_logprobs):
            options["top_logprobs"] = tops
        started = time.perf_counter()
        sample = await self._engine.sample(lease.engine_name, messages, options)
        watch.engine += time.perf_counter() - started
        ballot = await ballot_of(self._equality, sample.rollouts)
        vote = take_vote(ballot)
        self._count(vote, sample, lease)
        reason = self._keep_out(request, caller, lease, vote)
        if reason is None:
            query = Query(messages, passed, client=pseudonym(caller.client))
            self._reservoir.add(_key(messages), query)
            group = await self._group(request, caller, lease, messages, sample)
            reason = self._recorder.offer(group)
        extension = extension_of(
            "majority", vote.total, lease, recorded=reason is None, reason=reason
        ) | {
            "valid": vote.valid,
            "answer": vote.answer,
            "agreement": vote.agreement,
            "distribution": {key: count / vote.total for key, count in vote.counts.items()},
        }
        return completion_of(request, sample, ranked(ballot, vote)[: request.n], extension)

    async def _group(
        self,
        request: ChatRequest,
        caller: Caller,
        lease: Lease,
        messages: Sequence[Mapping[str, Any]],
        sample: Sample,
    ) -> RolloutGroup:
        limit = request.max_completion_tokens or request.max_tokens or 0
        top_p, top_k = request.top_p or 1.0, max(0, request.top_k or 0)
        rollouts = sample.rollouts
        if self._limits.top_logprobs:
            rollouts = await with_entropies(sample, self._limits.vocab_size)
        return RolloutGroup(
            id=uuid.uuid4().hex,
            prompt=orjson.dumps(messages).decode(),
            prompt_ids=sample.prompt_ids,
            rollouts=rollouts,
            policy_version=lease.version,
            sampling=Sampling(self._limits.temperature, top_p, top_k, limit),
            client=caller.client,
            created_at=time.time(),
        )

    def _keep_out(
        self, request: ChatRequest, caller: Caller, lease: Lease, vote: Vote
    ) -> str | None:
        """Why this group is not for training, or None."""
        if not caller.train or not request.ratchet.train or request.store is False:
            return "opted_out"
        if self._recorder.refuses(caller.client):
            return "opted_out"
        if lease.pinned:
            return "pinned_version"
        if vote.answer is None:
            return "no_answer"
        if (request.top_p or 1.0) < 1.0 or (request.top_k or 0) > 0:
            return "truncated_sampling"
        if request.bends_sampling:
            return "altered_sampling"
        return None

    def _count(self, vote: Vote, sample: Sample, lease: Lease) -> None:
        self._metrics.rollouts.inc(vote.total)
        self._metrics.tokens.inc(sample.completion_tokens)
        self._metrics.votes.labels("answered" if vote.answer is not None else "no_answer").inc()
        if vote.answer is not None:
            self._metrics.voted(vote.agreement)
        if not lease.pinned:
            self._signals.note(lease.version, VoteRecord.of(vote, sample.completion_tokens))


def _key(messages: Sequence[Mapping[str, Any]]) -> str:
    return hashlib.sha256(orjson.dumps(messages)).hexdigest()


def _derived_seed(seed: int, messages: Sequence[Mapping[str, Any]]) -> int:
    """A client's fixed seed must not draw the same rollouts for every prompt."""
    digest = hashlib.sha256(f"{seed}:{_key(messages)}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _unknown_model(model: str) -> ApiError:
    return ApiError(
        404,
        f"The model `{model[:64]}` does not exist or is no longer loaded; see /v1/models",
        param="model",
        code="model_not_found",
    )
