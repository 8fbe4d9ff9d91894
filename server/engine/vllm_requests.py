"""Writes vLLM's requests (vLLM 0.32), paths and bodies, and opens the connections they go over.

Connections are given up soon after their host has vanished. One that is cut off does not say so:
what was sent to it waits for minutes, and a reply that is being written stops for as long as a busy
engine may take. But a busy host still acknowledges, so the kernel is asked to find out (tcp(7)). A
host that is there, and takes nothing of a request that is larger than its buffers for as long,
counts as gone too: another engine is asked.
"""

import socket
from typing import Any

import aiohttp

from server.engine.base import EngineRequest, Service, is_chat

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
CONNECT_SECONDS = 5.0
"""Longest wait for a connection."""
_IDLE, _EVERY, _TIMES = 3, 2, 3
"""Seconds of silence before the other host is asked whether it is there, seconds between two such
questions, and how many are asked in vain before the connection is over."""
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


def open_session() -> aiohttp.ClientSession:
    """A session without a limit of connections: vLLM does the queueing. Idle ones are closed before
    vLLM does so, after 5 s, or a request may meet its end."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2.0, socket_factory=_socket)
    return aiohttp.ClientSession(connector=connector)


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """An unconnected socket for what getaddrinfo gave."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {
        "TCP_KEEPIDLE": _IDLE,
        "TCP_KEEPINTVL": _EVERY,
        "TCP_KEEPCNT": _TIMES,
        "TCP_USER_TIMEOUT": 1000 * (_IDLE + _EVERY * _TIMES),  # for what was sent, in ms
    }
    for name, value in wanted.items():
        if (option := getattr(socket, name, None)) is not None:  # not every system has all
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
