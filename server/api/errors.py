"""Errors of the HTTP boundary, and the one place where others become a status."""

import math
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from adapter.store.buffer import BufferUnavailable
from adapter.store.releases import UnknownRelease
from server.engine.base import (
    EngineError,
    EngineFailed,
    EngineRefused,
    EngineReplyInvalid,
    EngineTimeout,
)
from server.policy.leases import UnknownModel

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
        """`{"error": {...}}` as in the OpenAI API reference."""
        other = "invalid_request_error" if self.status < 500 else "server_error"
        kind = _TYPES.get(self.status, other)
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> Response:
        """The reply; 429 and 503 say when to come back, 413 closes the connection."""
        headers: dict[str, str] = {"connection": "close"} if self.status == 413 else {}
        if self.status in (429, 503):
            headers = {
                "retry-after": str(math.ceil(self._retry_after)),
                "retry-after-ms": str(math.ceil(self._retry_after * 1000)),
            }
        return json_response(self.body, self.status, headers)


def json_response(
    content: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A reply of JSON."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


EXPECTED = (
    ApiError, HTTPException, RequestValidationError, ClientDisconnect, UnknownModel,
    UnknownRelease, BufferUnavailable, Overloaded, EngineError,
)  # fmt: skip
"""Errors with a status of their own; any other one is a fault of ours."""


def api_error(error: Exception) -> ApiError:
    """What a client gets for an error."""
    match error:
        case ApiError():
            return error
        case HTTPException():
            return ApiError(error.status_code, str(error.detail))
        case RequestValidationError():
            first = error.errors()[0]
            return ApiError(400, str(first["msg"]), param=str(first["loc"][-1]))
        case ClientDisconnect():  # nobody receives it; it is counted
            return ApiError(499, "the client has disconnected")
        case UnknownModel():
            message = f"{error}; see /v1/models"
            return ApiError(404, message, param="model", code="model_not_found")
        case UnknownRelease():
            return ApiError(404, str(error), param="version")
        case BufferUnavailable():
            return ApiError(503, "Redis does not answer; try again")
        case Overloaded():
            return ApiError(503, "the server is full; try again", code="overloaded")
        case EngineRefused():
            return ApiError(error.status, str(error), param=error.param, code=error.code)
        case EngineTimeout():
            return ApiError(504, "the engine did not answer in time", code="engine_timeout")
        case EngineFailed():
            return ApiError(502, "the engine failed at this request", code="engine_failed")
        case EngineReplyInvalid():
            return ApiError(502, "the engine's reply was unusable", code="engine_reply_invalid")
        case EngineError():
            message = "the engine is not available; try again"
            return ApiError(503, message, code="engine_unavailable")
        case _:
            return ApiError(500, "an unforeseen error; the server's log has it")
