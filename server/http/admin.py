"""The admin listener: lists releases, moves the live pointer, pauses judging.

It has a port and a key of its own, and none of the server's other routes. It does what
`ratchet releases` does. A web page can send it nothing, for want of the key.
"""

import hmac
from typing import Annotated

from fastapi import FastAPI, Request
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.store.releases import ReleaseStore, promote_by_hand, rollback
from server.api.errors import ApiError, json_response
from server.api.parsing import parse
from server.http.app import handle_errors
from server.http.doors import values_of

_MAX_BODY_BYTES = 16_384
Version = Annotated[int, InPath(ge=0, le=2**31)]


class Reason(BaseModel):
    """Why judging is paused."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=500)] = "paused by hand"


class Guard:
    """Rejects every request without the key, and bodies that are too large."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._expected = app, b"Bearer " + key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = next(values_of(scope, b"authorization"), b"")
            if not hmac.compare_digest(given, self._expected):
                await ApiError(401, "the admin key is needed").response()(scope, receive, send)
                return
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > _MAX_BODY_BYTES:
                raise ApiError(413, f"the body may have at most {_MAX_BODY_BYTES} bytes")
            return message

        await self._app(scope, limited, send)


def create_admin(store: ReleaseStore, key: str) -> ASGIApp:
    """The ASGI application of the admin listener."""
    app = FastAPI(title="Ratchet releases", docs_url=None, redoc_url=None, openapi_url=None)
    handle_errors(app)

    async def listed() -> Response:
        """All releases, the live version, and why judging is paused, if it is."""
        shown = [release.shown() for release in await store.all()]
        live, paused = await store.live(), await store.paused()
        return json_response({"live": live, "paused": paused, "releases": shown})

    async def show(version: Version) -> Response:
        """One release with its verdicts."""
        return json_response((await store.get(version)).shown())

    async def promote(version: Version) -> Response:
        """Make a version live that was live before, or base (0)."""
        return json_response({"was": await promote_by_hand(store, version), "live": version})

    async def back(_: Request) -> Response:
        """Go back to the version before the live one."""
        was, live = await rollback(store, None)
        return json_response({"was": was, "live": live})

    async def pause(http: Request) -> Response:
        """Judge no candidate until resumed."""
        given = parse(Reason, await http.body() or b"{}")
        await store.pause(given.reason)
        return json_response({"paused": given.reason})

    async def resume(_: Request) -> Response:
        """Judge candidates again."""
        await store.pause(None)
        return json_response({"paused": None})

    app.add_api_route("/releases", listed, methods=["GET"])
    app.add_api_route("/releases/{version}", show, methods=["GET"])
    app.add_api_route("/releases/{version}/promote", promote, methods=["POST"])
    app.add_api_route("/rollback", back, methods=["POST"])
    app.add_api_route("/pause", pause, methods=["POST"])
    app.add_api_route("/resume", resume, methods=["POST"])
    return Guard(app, key)
