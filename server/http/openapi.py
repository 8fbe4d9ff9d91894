"""The OpenAPI document: requests by the models that validate them, replies by `reply_schema`."""

from functools import cache, partial
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from server.api import reply_schema as reply
from server.api.feedback_request import FeedbackRequest
from server.api.handed_on import DetokenizeRequest, EmbeddingsRequest, TokenizeRequest
from server.api.requests import ChatRequest, TextRequest

_BODIES: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": TextRequest,
    "/v1/embeddings": EmbeddingsRequest,
    "/tokenize": TokenizeRequest,
    "/detokenize": DetokenizeRequest,
    "/v1/feedback": FeedbackRequest,
}
_REPLIES: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": reply.ChatReply,
    "/v1/completions": reply.TextReply,
    "/v1/embeddings": reply.Embeddings,
    "/tokenize": reply.Tokens,
    "/detokenize": reply.Detokenized,
    "/v1/feedback": reply.FeedbackReply,
    "/v1/models": reply.ModelList,
    "/v1/models/{name}": reply.ModelCard,
    "/readyz": reply.Readiness,
    "/health": reply.Readiness,
}
_STREAMED = ("/v1/chat/completions", "/v1/completions")
_REFERENCE = "#/components/schemas/"
_MEANING = {
    "400": "The request cannot be served as it stands.",
    "401": "No valid key.",
    "404": "There is no such thing.",
    "405": "Not with this method.",
    "413": "The body is too large.",
    "429": "Over the quota; `retry-after` says when to come back.",
    "502": "The engine's reply was unusable.",
    "503": "Not now; `retry-after` says when to come back.",
    "504": "No answer in time.",
}


def describe(app: FastAPI, max_rollouts: int) -> None:
    """Serve the document at /openapi.json, made when it is first asked for."""
    app.openapi = cache(partial(_document, app, max_rollouts))


def _document(app: FastAPI, max_rollouts: int) -> dict[str, Any]:
    document = get_openapi(title="Ratchet", version="1", routes=app.routes)
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "validation") for model in {*_BODIES.values(), *_REPLIES.values(), reply.Error}
    ]
    _, schemas = models_json_schema(models, ref_template=_REFERENCE + "{model}")
    ours = [("RatchetOptions", field) for field in ("rollouts", "rollouts_min")]
    for name, field in (("ChatRequest", "n"), ("TextRequest", "n"), *ours):
        found = schemas["$defs"][name]["properties"][field]
        for option in found.get("anyOf", [found]):
            if "minimum" in option:
                option["maximum"] = max_rollouts
    document["components"] = {
        "schemas": schemas["$defs"],
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"] = _responses(path)
            if path in _BODIES or path.startswith("/v1/"):
                operation["security"] = [{"key": []}, {}]
            if "{name}" in path:
                name = {"name": "name", "in": "path", "required": True}
                operation["parameters"] = [{**name, "schema": {"type": "string"}}]
            if path in _BODIES:
                content = _json(_BODIES[path])
                operation["requestBody"] = {"required": True, "content": content}
    models_link = {
        "operationId": document["paths"]["/v1/models/{name}"]["get"]["operationId"],
        "parameters": {"name": "$response.body#/data/0/id"},
    }
    listed = document["paths"]["/v1/models"]["get"]["responses"]["200"]
    listed["links"] = {"One of them": models_link}
    return document


def _responses(path: str) -> dict[str, Any]:
    content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    if path in _REPLIES:
        content = _json(_REPLIES[path])
    if path in _STREAMED:
        event = {"type": "object", "properties": {"data": {"type": "string"}}}
        content["text/event-stream"] = {"schema": event}
    failures: dict[str, Any] = {
        status: {"description": meaning, "content": _json(reply.Error)}
        for status, meaning in _MEANING.items()
    }
    if path in ("/readyz", "/health"):
        failures["503"] = {"description": "Not ready.", "content": content}
    return {"200": {"description": "Success.", "content": content}, **failures}


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REFERENCE + model.__name__}}}
