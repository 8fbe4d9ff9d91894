"""The HTTP application: its routes, and how errors become replies."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from server.api.errors import EXPECTED, api_error
from server.api.handed_on import DetokenizeRequest, EmbeddingsRequest, TokenizeRequest
from server.api.requests import ChatRequest, TextRequest
from server.http.cors import Origins
from server.http.doors import Doors, is_local
from server.http.live_page import LivePage
from server.http.middleware import Edge
from server.http.openapi import describe
from server.http.routes import PlainRoute, Routes
from server.parts import Parts


def create_app(parts: Parts) -> ASGIApp:
    """The ASGI application over the given parts."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        async with parts.running():
            yield

    app = FastAPI(title="Ratchet", lifespan=lifespan, docs_url=None, redoc_url=None)
    handle_errors(app)
    app.router.route_class = PlainRoute
    routes = Routes(parts)
    app.add_api_route("/v1/chat/completions", routes.completions(ChatRequest), methods=["POST"])
    app.add_api_route("/v1/completions", routes.completions(TextRequest), methods=["POST"])
    app.add_api_route("/v1/embeddings", routes.handed_on(EmbeddingsRequest), methods=["POST"])
    app.add_api_route("/tokenize", routes.handed_on(TokenizeRequest), methods=["POST"])
    app.add_api_route("/detokenize", routes.handed_on(DetokenizeRequest), methods=["POST"])
    app.add_api_route("/v1/feedback", routes.feedback, methods=["POST"])
    app.add_api_route("/v1/models", routes.models, methods=["GET"])
    app.add_api_route("/v1/models/{name}", routes.model, methods=["GET"])
    app.add_api_route("/livez", routes.livez, methods=["GET"])
    app.add_api_route("/readyz", routes.readyz, methods=["GET"])
    app.add_api_route("/health", routes.readyz, methods=["GET"])
    app.add_api_route("/metrics", routes.metrics, methods=["GET"])
    if parts.settings.page:
        LivePage(parts).add_to(app)
    describe(app, parts.settings.max_rollouts)
    settings = parts.settings
    doors = Doors(
        open=settings.keys_file is None,
        local=is_local(settings.host),
        names=frozenset(settings.host_names),
    )
    return Edge(
        app,
        max_body_bytes=settings.max_body_bytes,
        tenants=parts.tenants,
        doors=doors,
        metrics=parts.metrics,
        origins=Origins(settings.cors_origins),
    )


def handle_errors(app: FastAPI) -> None:
    """Reply to every error in OpenAI's shape."""

    async def reply(http: Request, error: Exception) -> Response:
        response = api_error(error).response()
        if http.method == "OPTIONS" and response.status_code == 405:  # `allow` is the answer
            response = Response(status_code=204)
        if isinstance(error, HTTPException):
            response.headers.update(error.headers or {})
        return response

    for kind in (*EXPECTED, Exception):
        app.add_exception_handler(kind, reply)
