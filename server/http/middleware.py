"""Pure ASGI around every request: request id, keys, doors, a limit on the body, counting, timing.

Starlette's BaseHTTPMiddleware would hide disconnects and take most of the CPU.
"""

import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.errors import ApiError
from server.api.tenants import Tenants
from server.http.cors import Origins
from server.http.doors import Doors, values_of
from server.http.live_page import PAGE_PATHS
from server.metrics import ServerMetrics

_OPEN = frozenset({"/livez", "/readyz", "/health", "/metrics"}) | PAGE_PATHS
"""Paths that need no key. All others do, whether they exist or not."""
_NO_KEY = ApiError(
    401, "a valid API key is needed: Authorization: Bearer KEY", code="invalid_api_key"
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
    ) -> None:
        self._app, self._limit, self._origins = app, max_body_bytes, origins
        self._tenants, self._doors, self._metrics = tenants, doors, metrics
        self._too_large = ApiError(413, f"the body may have at most {max_body_bytes} bytes")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        self._metrics.in_flight.inc()
        read, status, head = 0, 500, scope["method"] == "HEAD"
        request_id = f"req_{uuid.uuid4().hex}".encode()

        async def counted_receive() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise self._too_large
            return message

        async def stamped_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                ours = [(b"x-request-id", request_id), *self._origins.headers(scope)]
                message["headers"] = [*message["headers"], *ours]
            elif head:
                message = {**message, "body": b""}
            await send(message)

        try:
            if (preflight := self._origins.preflight(scope)) is not None:
                await preflight(scope, receive, stamped_send)
                return
            tenant = self._tenants.admit(_header(scope, b"authorization"))
            if tenant is None and scope["path"] not in _OPEN:
                await _NO_KEY.response()(scope, receive, stamped_send)
                return
            scope = {**scope, "tenant": tenant, "method": "GET" if head else scope["method"]}
            if (refusal := self._doors.refusal(scope)) is not None:
                await refusal.response()(scope, receive, stamped_send)
            elif _declared_length(scope) > self._limit:
                await self._too_large.response()(scope, receive, stamped_send)
            else:
                await self._app(scope, counted_receive, stamped_send)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.in_flight.dec()
            self._metrics.answered(route, status, time.perf_counter() - started)


def _declared_length(scope: Scope) -> int:
    value = _header(scope, b"content-length") or b""
    return int(value[:20]) if value.isdigit() else 0


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    return next(values_of(scope, wanted), None)
