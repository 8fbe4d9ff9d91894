"""The HTTP application: its routes, and how errors become replies."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from server.api.errors import ApiError, Overloaded, from_engine, from_overload
from server.api.requests import ChatRequest, TextRequest
from server.engine.base import EngineError
from server.http.live_page import LivePage
from server.http.middleware import App, Edge
from server.http.openapi import describe
from server.http.routes import PlainRoute, Routes
from server.parts import Parts
from server.settings import ServerSettings


def create_app(parts: Parts) -> App:
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
    return Edge(app, parts.settings.max_body_bytes, parts.tenants, parts.metrics)  # pyright: ignore[reportArgumentType]


def application(settings: ServerSettings) -> App:
    """The ASGI application that these settings describe."""
    return create_app(Parts(settings))


def handle_errors(app: FastAPI) -> None:
    """Every error in OpenAI's shape."""

    @app.exception_handler(ApiError)
    async def _api_error(_: Request, error: ApiError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return error.response()

    @app.exception_handler(HTTPException)
    async def _http_error(_: Request, error: HTTPException) -> Response:  # pyright: ignore[reportUnusedFunction]
        reply = ApiError(error.status_code, str(error.detail)).response()
        reply.headers.update(error.headers or {})
        return reply

    @app.exception_handler(Exception)
    async def _unforeseen(_: Request, error: Exception) -> Response:  # pyright: ignore[reportUnusedFunction]
        return ApiError(500, "an unforeseen error; the server's log has it").response()

    @app.exception_handler(Overloaded)
    async def _overloaded(_: Request, error: Overloaded) -> Response:  # pyright: ignore[reportUnusedFunction]
        return from_overload(error).response()

    @app.exception_handler(EngineError)
    async def _engine_error(_: Request, error: EngineError) -> Response:  # pyright: ignore[reportUnusedFunction]
        return from_engine(error).response()
