"""What each public route does with a request."""

from collections.abc import Callable, Coroutine, Generator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import Response

from server.api.errors import ApiError, json_response
from server.api.feedback_request import FeedbackRequest
from server.api.handed_on import HandedOn
from server.api.messages.request import CountTokensRequest
from server.api.parsing import parse
from server.api.quota import Bill, OverQuota
from server.api.requests import SamplingRequest
from server.api.surfaces.asked import SurfaceRequest, asked_by
from server.api.tenants import Tenant
from server.charge import Cost
from server.http.event_response import EventResponse, body_of, while_connected
from server.parts import Parts
from server.recording.feedback import TooManyLabels, UnknownCompletion
from server.vote.completions import Stopwatch
from server.vote.session import Caller

M = TypeVar("M", bound=BaseModel)
H = TypeVar("H", bound=HandedOn)


class PlainRoute(APIRoute):
    """A route whose handler takes the request as it is: FastAPI injects nothing."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


class Routes:
    """The handlers of one server process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def completions(
        self, kind: type[SamplingRequest | SurfaceRequest]
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler for requests of one kind."""

        async def completions(http: Request) -> Response:
            """An answer; see docs/api.md for the `ratchet` extension."""
            stopwatch, tenant = Stopwatch(), _tenant(http)
            asked = asked_by(await self._read(kind, http))
            request, writer, service = asked.request, asked.writer, self._parts.completions
            with asked.in_its_words():
                service.check(request)
            caller = Caller(tenant.client(request.user), tenant.train and _may_train(http))
            bill = self._open(tenant, service.cost(request))

            def count(tokens: int) -> None:
                bill.add(tokens)
                self._parts.metrics.tokens["answer"].inc(tokens)

            if request.stream:
                events = service.events(request, caller, count)
                if writer is not None:
                    events = asked.written(events)
                return EventResponse(events, lambda: self._overhead(stopwatch), bill.close)
            with closing(bill):
                async with while_connected(http.receive):
                    with asked.in_its_words():
                        completion = await service.reply(request, caller, stopwatch, count)
            reply = completion if writer is None else writer.whole(completion)
            return json_response(reply, 200, self._overhead(stopwatch))

        return completions

    def handed_on(self, kind: type[H]) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler for requests that the engine answers by itself."""

        async def handed_on(http: Request) -> Response:
            """The engine's own reply, behind our keys and quotas."""
            stopwatch = Stopwatch()
            request = await self._read(kind, http)
            reply = await self._hand_on(http, request, stopwatch)
            return json_response(reply, 200, self._overhead(stopwatch))

        return handed_on

    async def count_tokens(self, http: Request) -> Response:
        """How many tokens a prompt has, as the engine counts."""
        stopwatch = Stopwatch()
        request = await self._read(CountTokensRequest, http)
        with request.asked().in_its_words():
            reply = await self._hand_on(http, request.chat.to_count, stopwatch)
        return json_response({"input_tokens": reply["count"]}, 200, self._overhead(stopwatch))

    async def _hand_on(
        self, http: Request, request: HandedOn, stopwatch: Stopwatch
    ) -> dict[str, Any]:
        """The engine's reply to a request that is its own affair."""
        self._parts.policy.resolve(request.model or self._parts.policy.name)
        handing_on = self._parts.handing_on
        with closing(self._open(_tenant(http), handing_on.cost(request))) as bill:
            async with while_connected(http.receive):
                with stopwatch.waiting():
                    return await handing_on.reply(request, bill.add)

    async def feedback(self, http: Request) -> Response:
        """A label for an answer to the same key, or whether it was right: for metrics only."""
        request, tenant = await self._read(FeedbackRequest, http), _tenant(http)
        tenant.quota.count()
        holder = tenant.holder
        try:
            judged = await self._parts.feedback.give(
                request.completion_id, request.label, request.correct, holder
            )
        except UnknownCompletion:
            message = "no voted answer is remembered under this id"
            raise ApiError(404, message, param="completion_id") from None
        except TooManyLabels:
            message = "too many labels wait to be compared; try again"
            raise ApiError(429, message, param="label") from None
        shown = {"object": "ratchet.feedback", "completion_id": request.completion_id}
        return json_response({**shown, "correct": judged.correct, "counted": judged.counted})

    async def models(self, _: Request) -> Response:
        """Names a request may use; `root` is the base model, `parent` the name it refers to."""
        return json_response({"object": "list", "data": self._cards()})

    async def model(self, http: Request) -> Response:
        """One of these names."""
        name = http.path_params["name"]
        self._parts.policy.resolve(name)
        return json_response(next(card for card in self._cards() if card["id"] == name))

    async def livez(self, _: Request) -> Response:
        """200 while the process runs; nothing else is checked."""
        return Response("ok", media_type="text/plain")

    async def readyz(self, _: Request) -> Response:
        """200 if an engine replica is up. Without Redis the server is degraded, but ready."""
        parts = self._parts
        ready = parts.engine.up and not parts.draining
        state = {
            "engine": parts.engine.up,
            "engines": {replica.name: replica.up for replica in parts.engine.replicas},
            "buffer": parts.recorder.reachable,
            "draining": parts.draining,
            "version": parts.policy.live,
        }
        return json_response(state, 200 if ready else 503)

    async def metrics(self, _: Request) -> Response:
        """Prometheus exposition."""
        return Response(self._parts.metrics.expose(), media_type="text/plain; version=0.0.4")

    def _cards(self) -> list[dict[str, Any]]:
        policy = self._parts.policy
        names = [
            (policy.name, policy.name_of(policy.live)),
            *((policy.name_of(v), policy.name_of(0) if v else None) for v in policy.loaded),
        ]
        common = {"object": "model", "created": 0, "owned_by": "ratchet", "root": policy.name_of(0)}
        return [{"id": name, **common, "parent": parent} for name, parent in names]

    def _open(self, tenant: Tenant, cost: Cost) -> Bill:
        """Let a request in, with what it may take reserved. Raises ApiError if the key's quota
        allows no more."""
        with self._refusals():
            return tenant.quota.open(cost.total)

    async def _read(self, kind: type[M], http: Request) -> M:
        """The request in a body. Raises ApiError: whoever is over a quota is told so before
        anything is read into it, and what is no request counts as one."""
        body, quota = await body_of(http), _tenant(http).quota
        with self._refusals():
            quota.require()
        try:
            ignore = self._parts.settings.unknown_fields == "ignore"
            return parse(kind, body, ignore_unknown=ignore)
        except ApiError:
            quota.count()
            raise

    @contextmanager
    def _refusals(self) -> Generator[None]:
        """Tell a client that its key's quota allows no more."""
        try:
            yield
        except OverQuota as over:
            self._parts.metrics.quota_refusals.inc()
            raise ApiError(429, "over the quota of this key", retry_after=over.seconds) from None

    def _overhead(self, stopwatch: Stopwatch) -> dict[str, str]:
        """Count our share of a reply's time; returns the header with it."""
        self._parts.metrics.overhead_seconds.observe(stopwatch.overhead)
        return {"x-ratchet-overhead-ms": f"{stopwatch.overhead * 1000:.2f}"}


def _tenant(http: Request) -> Tenant:
    """Who asks."""
    return http.scope["tenant"]


def _may_train(http: Request) -> bool:
    values = http.headers.getlist("x-ratchet-train")
    return all(value.strip().lower() == "true" for value in values)
