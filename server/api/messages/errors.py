"""Errors as clients of Messages expect them: https://docs.claude.com/en/api/errors."""

from typing import Any

from server.api.errors import ApiError

PATH = "/v1/messages"
"""Whatever is asked under it gets errors in this form."""

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_body(error: ApiError, request_id: str | None = None) -> dict[str, Any]:
    """`{"type": "error", …}`. There is no place for the field's name but the message."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    message = error.message
    if error.param and error.param not in message:
        message = f"{error.param}: {message}"
    named = {} if request_id is None else {"request_id": request_id}
    return {"type": "error", "error": {"type": kind, "message": message}, **named}
