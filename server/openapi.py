"""The OpenAPI document: request bodies and replies, from the very models that check them."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from server.schema import ChatRequest, FeedbackRequest, TextRequest

_BODIES = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": TextRequest,
    "/v1/feedback": FeedbackRequest,
}
_REFERENCE = "#/components/schemas/"
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
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


def describe(app: FastAPI) -> None:
    """Give the application its document, at /openapi.json."""
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(_document(app))
        return document

    app.openapi = openapi


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title="Ratchet", version="1", routes=app.routes)
    _, schemas = models_json_schema(
        [(kind, "validation") for kind in _BODIES.values()],
        ref_template=_REFERENCE + "{model}",
    )
    components: dict[str, Any] = {**schemas["$defs"], "Error": _ERROR}
    document["components"] = {
        "schemas": components,
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    failure = {"application/json": {"schema": {"$ref": _REFERENCE + "Error"}}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"] = {
                "200": operation["responses"]["200"],
                **{status: {"description": text, "content": failure}
                   for status, text in _MEANING.items()},
            }  # fmt: skip
            if path in ("/readyz", "/health"):
                operation["responses"]["503"] = {"description": "Not ready."}
            if path.startswith("/v1/"):
                operation["security"] = [{"key": []}, {}]
            if path in _BODIES:
                reference = {"$ref": _REFERENCE + _BODIES[path].__name__}
                operation["requestBody"] = {
                    "required": True,
                    "content": {"application/json": {"schema": reference}},
                }
    return document
