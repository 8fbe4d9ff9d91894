"""Listens for clients, and for the operator, until a signal; then drains.

On SIGTERM `/readyz` turns 503 while answers go on for `drain_seconds`; then no connection is
accepted, and those there are get one more reply, which tells the client to close. What is under way
is finished, which may take `engine_timeout`, and stored, and the process ends with status 0.
"""

import asyncio
import gc
import logging
import math
import resource
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import LifespanType

from server.http.admin import create_admin
from server.http.app import create_app
from server.http.connections import Connection, ConnectionLimits
from server.http.unparsed import UnparsedBytes
from server.parts import Parts
from server.settings import ServerSettings

log = logging.getLogger("ratchet.server")

_POLL_SECONDS = 0.02
_LAST_REPLY_SECONDS = 1.0
"""For a client to ask once more on a connection that it keeps: one that is closed just when a
request comes fails that request."""
_GRACE_SECONDS = 5
"""Beyond the longest request, to write its reply."""


class Listener(uvicorn.Server):
    """Leaves signals to us, since there may be two listeners."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(settings: ServerSettings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status. Raises LabelledQueriesInvalid and
    KeysInvalid."""
    _allow_connections()
    parts = Parts(settings)
    grace = math.ceil(settings.engine_timeout) + _GRACE_SECONDS
    connection = _connection(parts)
    listeners = [
        _listener(create_app(parts), connection, settings.host, settings.port, grace=grace)
    ]
    if settings.admin_port and settings.admin_key is not None:
        admin = create_admin(parts.releases, settings.admin_key.get_secret_value())
        listeners.append(
            _listener(
                admin, connection, settings.host, settings.admin_port, grace=grace, lifespan="off"
            )
        )
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    draining = asyncio.create_task(_drain(parts, stopping, listeners))
    gc.collect()
    gc.freeze()  # all that is here stays: else each full collection looks at it, for 0.1 s
    try:
        await asyncio.gather(*(listener.serve() for listener in listeners))
    finally:
        draining.cancel()
    return int(parts.failed.is_set())


def _allow_connections() -> None:
    """Allow as many open files as the system does, or a thousand idle clients keep others out."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _drain(parts: Parts, stopping: asyncio.Event, listeners: Sequence[Listener]) -> None:
    waits = [asyncio.create_task(event.wait()) for event in (stopping, parts.failed)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    parts.draining = True
    log.info("draining")
    if stopping.is_set():
        await asyncio.sleep(parts.settings.drain_seconds)
        await _leave(parts, listeners)
    for listener in listeners:
        listener.should_exit = True


async def _leave(parts: Parts, listeners: Sequence[Listener]) -> None:
    """Accept no more connections, and wait a moment for those there are to be closed."""
    parts.leaving = True
    for listener in listeners:
        for server in listener.servers:
            server.close()
    loop = asyncio.get_running_loop()
    until = loop.time() + _LAST_REPLY_SECONDS
    while any(one.server_state.connections for one in listeners) and loop.time() < until:
        await asyncio.sleep(_POLL_SECONDS)


def _connection(parts: Parts) -> type[Connection]:
    """Makes connections, which share one budget for what is not read yet."""
    settings, refusals = parts.settings, parts.metrics.connections_refused
    limits = ConnectionLimits(
        header_bytes=settings.max_header_bytes,
        headers=settings.max_headers,
        header_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds,
        reply_seconds=settings.reply_seconds,
    )
    made = partial(
        Connection,
        limits,
        UnparsedBytes(settings.max_unparsed_bytes),
        lambda why: refusals[why].inc(),
    )
    return cast("type[Connection]", made)  # uvicorn only calls it


def _listener(
    app: ASGIApp,
    connection: type[Connection],
    host: str,
    port: int,
    *,
    grace: int,
    lifespan: LifespanType = "on",
) -> Listener:
    return Listener(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=connection,
            ws="none",
            lifespan=lifespan,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=grace,
        )
    )
