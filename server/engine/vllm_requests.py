"""Writes vLLM's requests (vLLM 0.32): paths and bodies."""

from typing import Any

from server.engine.base import EngineRequest, Service, is_chat

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
SERVICES = {
    Service.EMBEDDINGS: "/v1/embeddings",
    Service.TOKENIZE: "/tokenize",
    Service.DETOKENIZE: "/detokenize",
}


def addressed(request: EngineRequest) -> tuple[str, dict[str, Any]]:
    """Path and body for a prompt of that kind."""
    path, name = (CHAT, "messages") if is_chat(request.prompt) else (TEXT, "prompt")
    return path, {"model": request.model, name: request.prompt, **request.options}


def drawing(request: EngineRequest, *, scored: bool) -> tuple[str, dict[str, Any]]:
    """Path and body for rollouts with token ids."""
    path, body = addressed(request)
    body |= {"stream": True, "return_token_ids": True}
    tops = body.pop("top_logprobs", None) or 0
    if path == TEXT:
        body["logprobs"] = tops if scored else None
    elif scored:
        body |= {"logprobs": True, "top_logprobs": tops}
    return path, body
