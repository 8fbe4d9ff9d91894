"""The admin listener: look at releases, move the live pointer, hold candidates back.

On a port and with a key of its own; the server's other routes are not there. What it does is what
`ratchet releases` does.
"""

import hmac
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.responses import Response

from adapter.store.buffer import BufferUnavailable
from adapter.store.releases import (
    ReleaseStore,
    UnknownRelease,
    promote_by_hand,
    rollback,
)
from server.api.errors import ApiError, from_validation
from server.http.app import handle_errors
from server.http.middleware import App, Message, Receive, Send

Version = Annotated[int, InPath(ge=0, le=2**31)]


class Reason(BaseModel):
    """Why candidates are to wait."""

    model_config = ConfigDict(extra="forbid")

    reason: str = "paused by hand"


class Guard:
    """Lets nobody in without the key."""

    def __init__(self, app: App, key: str) -> None:
        self._app, self._expected = app, b"Bearer " + key.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                await ApiError(401, "the admin key is needed").response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def create_admin(store: ReleaseStore, key: str) -> App:
    """The ASGI application of the admin listener."""
    app = FastAPI(title="Ratchet releases", docs_url=None, redoc_url=None, openapi_url=None)
    handle_errors(app)

    @app.exception_handler(RequestValidationError)
    async def _bad_path(_: Request, error: RequestValidationError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return ApiError(400, str(error.errors()[0]["msg"]), param="version").response()

    @app.exception_handler(UnknownRelease)
    async def _unknown(_: Request, error: UnknownRelease) -> Response:  # pyright: ignore[reportUnusedFunction]
        return ApiError(404, str(error), param="version").response()

    @app.exception_handler(BufferUnavailable)
    async def _away(_: Request, error: BufferUnavailable) -> Response:  # pyright: ignore[reportUnusedFunction]
        return ApiError(503, "Redis does not answer; try again").response()

    async def listed() -> Response:
        """All releases, the live version, and why candidates wait if they do."""
        shown = [release.shown() for release in await store.all()]
        return _json(
            {"live": await store.live(), "paused": await store.paused(), "releases": shown}
        )

    async def show(version: Version) -> Response:
        """One release with its verdict."""
        return _json((await store.get(version)).shown())

    async def promote(version: Version) -> Response:
        """Make a version live that was live before, or base (0)."""
        return _json({"was": await promote_by_hand(store, version), "live": version})

    async def back(_: Request) -> Response:
        """Go back to the version before the live one."""
        was, live = await rollback(store, None)
        return _json({"was": was, "live": live})

    async def pause(http: Request) -> Response:
        """Judge no candidate until resumed."""
        try:
            given = Reason.model_validate_json(await http.body() or b"{}")
        except ValidationError as error:
            raise from_validation(error) from None
        await store.pause(given.reason)
        return _json({"paused": given.reason})

    async def resume(_: Request) -> Response:
        """Judge candidates again."""
        await store.pause(None)
        return _json({"paused": None})

    app.add_api_route("/releases", listed, methods=["GET"])
    app.add_api_route("/releases/{version}", show, methods=["GET"])
    app.add_api_route("/releases/{version}/promote", promote, methods=["POST"])
    app.add_api_route("/rollback", back, methods=["POST"])
    app.add_api_route("/pause", pause, methods=["POST"])
    app.add_api_route("/resume", resume, methods=["POST"])
    return Guard(app, key)  # pyright: ignore[reportArgumentType]


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
