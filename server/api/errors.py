"""Errors of the HTTP boundary, and the one place where others become a status.

ApiError
+-- what the client got wrong: 400, 404, 413, ...
+-- what we or the engine could not do: 502, 503, 504
"""

import math
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from server.engine.base import (
    EngineError,
    EngineRefused,
    EngineReplyInvalid,
    EngineTimeout,
)

RETRY_SECONDS = 2.0
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class Overloaded(Exception):
    """There is no room for another request."""


class ApiError(Exception):
    """An error in OpenAI's shape: `param` names the offending field, `code` is machine-readable."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float = RETRY_SECONDS,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self._retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """`{"error": {...}}` as the OpenAI API reference has it."""
        other = "invalid_request_error" if self.status < 500 else "server_error"
        kind = _TYPES.get(self.status, other)
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> Response:
        """As a reply; 429 and 503 say when to come back, 413 that nothing more is read."""
        headers: dict[str, str] = {"connection": "close"} if self.status == 413 else {}
        if self.status in (429, 503):
            headers = {
                "retry-after": str(math.ceil(self._retry_after)),
                "retry-after-ms": str(math.ceil(self._retry_after * 1000)),
            }
        content = orjson.dumps(self.body)
        return Response(content, self.status, headers, media_type="application/json")


def from_engine(error: EngineError) -> ApiError:
    """What a client is told of an engine's failure."""
    if isinstance(error, EngineRefused):
        return ApiError(error.status, str(error), param=error.param, code=error.code)
    if isinstance(error, EngineTimeout):
        return ApiError(504, "the engine did not answer in time", code="engine_timeout")
    if isinstance(error, EngineReplyInvalid):
        return ApiError(502, "the engine's reply was unusable", code="engine_reply_invalid")
    return ApiError(503, "the engine is not available; try again", code="engine_unavailable")


def from_overload(_: Overloaded) -> ApiError:
    """What a client is told when the server is full."""
    return ApiError(503, "the server is full; try again", code="overloaded")


def from_validation(error: ValidationError) -> ApiError:
    """The first invalid field, by name; never its value."""
    first = error.errors(include_input=False, include_url=False)[0]
    steps = [str(step) for step in first["loc"] if not str(step).startswith(("str", "list["))]
    param = ".".join(steps) or None
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"Unknown field: {param}", param=param, code="unknown_field")
    message = first["msg"].removeprefix("Value error, ")
    return ApiError(400, f"{param}: {message}" if param else message, param=param)
