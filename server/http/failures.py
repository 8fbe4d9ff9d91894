"""Error replies, in the form that clients of the surface expect which was asked."""

from collections.abc import Sequence

from starlette.responses import Response
from starlette.types import Scope

from server.api.errors import ApiError
from server.api.messages.errors import PATH as MESSAGES
from server.api.messages.errors import error_body


def failure(error: ApiError, scope: Scope) -> Response:
    """The reply to a request that has failed."""
    if not _of_messages(scope):
        return error.response()
    return error.response(error_body(error, scope.get("request_id")))


def id_headers(scope: Scope) -> Sequence[bytes]:
    """The headers that hold the request's id."""
    return (b"x-request-id", b"request-id") if _of_messages(scope) else (b"x-request-id",)


def _of_messages(scope: Scope) -> bool:
    path: str = scope["path"]
    return path == MESSAGES or path.startswith(MESSAGES + "/")
