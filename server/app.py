"""The HTTP application: routes, their wiring, and the life of the background tasks."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson
from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from adapter.adapter_folders import AdapterFolders
from adapter.buffer import RolloutBuffer
from adapter.channels import open_buffer, open_releases
from adapter.releases import ReleaseStore
from rewards.equality import Equality
from rewards.math_judge import MathJudge
from server.canary import CanaryRules
from server.chat import Caller, ChatLimits, ChatService, Stopwatch
from server.engine import Engine, EngineError
from server.engine_watch import EngineWatch
from server.errors import ApiError, from_engine, from_validation
from server.gate import GateLimits
from server.labelled_queries import read_labelled_queries
from server.live_signals import LiveSignals
from server.metrics import ServerMetrics
from server.middleware import App, Edge
from server.policy import Policy
from server.probe_set import ProbeSet
from server.promotion import Promoter
from server.recorder import Recorder
from server.reservoir import Reservoir
from server.schema import ChatRequest
from server.settings import ServerSettings
from server.topk_entropies import vocabulary_of
from server.trial import Trial, TrialRules
from server.vllm_engine import VllmEngine

log = logging.getLogger("ratchet.server")

_FLUSH_SECONDS = 5.0


class Parts:
    """Everything one server process consists of, built from its settings."""

    def __init__(
        self,
        settings: ServerSettings,
        engine: Engine | None = None,
        buffer: RolloutBuffer | None = None,
        releases: ReleaseStore | None = None,
    ) -> None:
        self.settings = settings
        self.engine = engine or VllmEngine(
            settings.engine_url, settings.engine_model, settings.engine_timeout
        )
        self.buffer = buffer or open_buffer(settings)
        self.releases = releases or open_releases(settings)
        self.judge = MathJudge(settings.equality_deadline)
        equality = Equality(self.judge)
        self.metrics = ServerMetrics()
        self.policy = Policy(settings.model_name, settings.engine_model)
        self.reservoir = Reservoir()
        self.signals = LiveSignals(settings.watch_queries)
        self.recorder = Recorder(
            self.buffer, settings.recorder_queue, self.metrics, self.reservoir.forget
        )
        limits = GateLimits(
            settings.gate_max_kl,
            settings.gate_min_margin,
            settings.gate_min_diversity,
            settings.gate_max_drop,
            settings.gate_max_stretch,
        )
        self.promoter = Promoter(
            self.engine,
            self.releases,
            AdapterFolders(settings.adapters_dir),
            self.policy,
            self._trial(equality, limits),
            self.signals,
            limits,
            CanaryRules(settings.canary_share, settings.canary_seconds),
            self.metrics,
            parity_tolerance=settings.parity_tolerance,
            keep_loaded=settings.keep_loaded,
        )
        self.watch = EngineWatch(
            self.engine, settings.probe_seconds, self.metrics, self.promoter.engine_restarted
        )
        self.chat = ChatService(
            self.engine,
            self.policy,
            self.recorder,
            self.reservoir,
            self.signals,
            equality,
            ChatLimits(
                settings.rollouts,
                settings.max_rollouts,
                settings.rollout_temperature,
                settings.record_top_logprobs,
                settings.vocab_size or vocabulary_of(settings.model),
            ),
            self.metrics,
            self.promoter.engine_restarted,
        )

    def _trial(self, equality: Equality, limits: GateLimits) -> Trial:
        settings = self.settings
        probes = ProbeSet(
            self.engine,
            self.reservoir,
            read_labelled_queries(settings.gate_file) if settings.gate_file else [],
            settings.gate_prompts,
            settings.gate_rollouts,
            settings.gate_refresh,
            settings.rollout_temperature,
        )
        rules = TrialRules(settings.gate_margin, settings.gate_queries, limits)
        return Trial(probes, equality, settings.engine_model, rules)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Background tasks for the life of the server; on the way out, flush and disconnect."""
        jobs = (
            self.recorder.run(), self.recorder.watch(), self.promoter.run(), self.watch.run()
        )  # fmt: skip
        await self.recorder.look()
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            yield
        finally:
            await self.recorder.flush(_FLUSH_SECONDS)
            await _cancel(tasks)
            self.judge.close()
            await self.engine.close()
            await self.buffer.close()
            await self.releases.close()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End tasks for certain: a cancellation that meets a reply in flight can get lost in 3.11."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=0.5)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("a background task had failed", exc_info=error)


def create_app(parts: Parts) -> App:
    """The ASGI application over the given parts."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        async with parts.running():
            yield

    app = FastAPI(title="Ratchet", lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.exception_handler(ApiError)
    async def _api_error(_: Request, error: ApiError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return error.response()

    @app.exception_handler(HTTPException)
    async def _http_error(_: Request, error: HTTPException) -> Response:  # pyright: ignore[reportUnusedFunction]
        return ApiError(error.status_code, str(error.detail)).response()

    @app.exception_handler(EngineError)
    async def _engine_error(_: Request, error: EngineError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return from_engine(error).response()

    app.add_api_route("/v1/chat/completions", _chat_route(parts), methods=["POST"])
    app.add_api_route("/v1/models", _models_route(parts), methods=["GET"])
    app.add_api_route("/livez", _livez, methods=["GET"])
    app.add_api_route("/readyz", _readyz_route(parts), methods=["GET"])
    app.add_api_route("/metrics", _metrics_route(parts), methods=["GET"])
    return Edge(app, parts.settings.max_body_bytes, parts.metrics)  # pyright: ignore[reportArgumentType]


def application(settings: ServerSettings) -> App:
    """The ASGI application that these settings describe."""
    return create_app(Parts(settings))


def _chat_route(parts: Parts):
    async def chat_completions(http: Request) -> Response:
        """OpenAI's chat completions; see docs/api.md for the `ratchet` extension."""
        watch = Stopwatch()
        request = _parse(await http.body())
        train = all(
            value.strip().lower() == "true" for value in http.headers.getlist("x-ratchet-train")
        )
        caller = Caller(client=request.user or "anonymous", train=train)
        parts.chat.check(request)
        if request.stream:
            events = _guarded(parts.chat.events(request, caller, watch))
            first = await anext(events)
            return StreamingResponse(
                _resumed(first, events), 200, _overhead(parts, watch), "text/event-stream"
            )
        completion = await parts.chat.reply(request, caller, watch)
        headers = _overhead(parts, watch)
        return Response(orjson.dumps(completion), 200, headers, media_type="application/json")

    return chat_completions


def _overhead(parts: Parts, watch: Stopwatch) -> dict[str, str]:
    """Count our share of a reply's time, and the header that tells it."""
    parts.metrics.overhead_seconds.observe(watch.overhead)
    return {"x-ratchet-overhead-ms": f"{watch.overhead * 1000:.2f}"}


def _models_route(parts: Parts):
    async def models() -> Response:
        """Names a request may ask for; `root` is the base model, `parent` what a name stands on."""
        policy = parts.policy
        cards = [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "ratchet",
                "root": policy.name_of(0),
                "parent": parent,
            }
            for name, parent in [
                (policy.name, policy.name_of(policy.live)),
                *((policy.name_of(v), policy.name_of(0) if v else None) for v in policy.loaded),
            ]
        ]
        return Response(
            orjson.dumps({"object": "list", "data": cards}), media_type="application/json"
        )

    return models


async def _livez() -> Response:
    """The process runs. Touches nothing else."""
    return Response("ok", media_type="text/plain")


def _readyz_route(parts: Parts):
    async def readyz() -> Response:
        """200 once the engine generates. Redis being away is degraded, not unready."""
        return Response(
            orjson.dumps({"engine": parts.watch.up, "version": parts.policy.live}),
            200 if parts.watch.up else 503,
            media_type="application/json",
        )

    return readyz


def _metrics_route(parts: Parts):
    async def metrics() -> Response:
        """Prometheus exposition."""
        return Response(parts.metrics.expose(), media_type="text/plain; version=0.0.4")

    return metrics


def _parse(body: bytes) -> ChatRequest:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is not valid JSON: line {error.lineno}") from None
    try:
        return ChatRequest.model_validate(data)
    except ValidationError as error:
        raise from_validation(error) from None


async def _guarded(events: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """A failure after the first byte becomes an error event, never a [DONE] that looks fine."""
    started = False
    try:
        async for event in events:
            yield event
            started = True
    except EngineError as error:
        if not started:
            raise
        yield b"data: " + orjson.dumps(from_engine(error).body) + b"\n\n"


async def _resumed(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for event in rest:
        yield event
