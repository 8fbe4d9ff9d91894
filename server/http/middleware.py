"""Pure ASGI around every request: request id, keys, doors, a limit on the body, counting, timing.

Starlette's BaseHTTPMiddleware would hide disconnects and take most of the CPU.
"""

import time
import uuid
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.errors import ApiError
from server.api.tenants import Tenants
from server.http.connections import taken
from server.http.cors import Origins
from server.http.doors import Doors, values_of
from server.http.failures import failure, id_headers
from server.http.live_page import PAGE_PATHS
from server.metrics import ServerMetrics

_OPEN = frozenset({"/livez", "/readyz", "/health", "/metrics"}) | PAGE_PATHS
"""Paths that need no key. All others do, whether they exist or not."""
_NO_KEY = ApiError(
    401,
    "a valid API key is needed: Authorization: Bearer KEY, or x-api-key: KEY",
    code="invalid_api_key",
)


class Edge:
    """The outermost layer of the server."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        tenants: Tenants,
        doors: Doors,
        metrics: ServerMetrics,
        origins: Origins,
        leaving: Callable[[], bool],
    ) -> None:
        self._app, self._limit, self._origins = app, max_body_bytes, origins
        self._leaving = leaving
        self._tenants, self._doors, self._metrics = tenants, doors, metrics
        self._too_large = ApiError(
            413, f"at most {max_body_bytes} bytes of body: see max_body_bytes"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        self._metrics.in_flight.inc()
        read, status, head = 0, 500, scope["method"] == "HEAD"
        request_id = f"req_{uuid.uuid4().hex}"
        scope["request_id"] = request_id
        ids = [(name, request_id.encode()) for name in id_headers(scope)]

        async def counted_receive() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise self._too_large
            if not message.get("more_body"):
                taken(scope)
            return message

        async def stamped_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], *ids, *self._origins.headers(scope)]
                if self._leaving():
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            elif head:
                message = {**message, "body": b""}
            await send(message)

        try:
            if (preflight := self._origins.preflight(scope)) is not None:
                await preflight(scope, receive, stamped_send)
                return
            tenant = self._tenants.admit(_key(scope))
            if tenant is None and scope["path"] not in _OPEN:
                await failure(_NO_KEY, scope)(scope, receive, stamped_send)
                return
            scope = {**scope, "tenant": tenant, "method": "GET" if head else scope["method"]}
            if (refusal := self._doors.refusal(scope)) is not None:
                await failure(refusal, scope)(scope, receive, stamped_send)
            elif _declared_length(scope) > self._limit:
                await failure(self._too_large, scope)(scope, receive, stamped_send)
            else:
                await self._app(scope, counted_receive, stamped_send)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.in_flight.dec()
            self._metrics.answered(route, status, time.perf_counter() - started)


def _declared_length(scope: Scope) -> int:
    value = _header(scope, b"content-length") or b""
    return int(value[:20]) if value.isdigit() else 0


def _key(scope: Scope) -> bytes | None:
    """The `Authorization` header, or what it would be with the key in `x-api-key`."""
    given = _header(scope, b"authorization")
    key = _header(scope, b"x-api-key")
    return b"Bearer " + key if given is None and key is not None else given


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    return next(values_of(scope, wanted), None)
