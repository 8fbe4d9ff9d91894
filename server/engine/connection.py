"""Connections to an engine, given up soon after its host has vanished.

A host that is cut off does not say so: what was sent to it waits for minutes, and a reply that is
being written stops for as long as a busy engine may take. But a busy host still acknowledges, so
the kernel is asked to find out (tcp(7)). A host that is there, and takes nothing of a request that
is larger than its buffers for as long, counts as gone too: another engine is asked.
"""

import socket
from typing import Any

import aiohttp

CONNECT_SECONDS = 5.0
"""Longest wait for a connection."""
_IDLE, _EVERY, _TIMES = 3, 2, 3
"""Seconds of silence before the other host is asked whether it is there, seconds between two such
questions, and how many are asked in vain before the connection is over."""


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
