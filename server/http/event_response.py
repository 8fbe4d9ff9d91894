"""A reply of server-sent events, which notices that the client has disconnected.

It replaces Starlette's StreamingResponse: one task less per reply, and errors become events.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.api.errors import ApiError, api_error
from server.engine.base import EngineError

_HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # or nginx keeps events back until it has a buffer full
}


class ClientGone(ApiError):
    """The client has disconnected. Nobody receives the status, which is nginx's; it is counted."""

    def __init__(self) -> None:
        super().__init__(499, "the client has disconnected")


async def body_of(http: Request) -> bytes:
    """A request's body, which is not kept as `http.body()` keeps it. Raises ClientDisconnect."""
    body = bytearray()
    while True:
        message = await http.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncGenerator[None, None]:
    """Cancel the block, and raise ClientGone, when the client disconnects after its request."""
    task = asyncio.current_task()
    assert task is not None

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if watching.done() and task.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        watching.cancel()


class EventResponse(Response):
    """Sends events as they come; `headers` is called when the first one is there, `ended` when all
    is over. A failure before the first is a plain error reply; after it, an error event without a
    [DONE]."""

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        headers: Callable[[], Mapping[str, str]],
        ended: Callable[[], None],
    ) -> None:
        super().__init__(media_type="text/event-stream")
        del self.body  # else its length would be announced
        self._events, self._more_headers, self._started = events, headers, False
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with while_connected(receive):
                await self._send(send)
        except ClientGone:
            if not self._started:
                raise
        finally:
            try:
                await self._events.aclose()
            finally:
                self._ended()

    async def _send(self, send: Send) -> None:
        body = await anext(self._events)
        self._started = True
        self.init_headers({**_HEADERS, **self._more_headers()})
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await send({"type": "http.response.body", "body": body, "more_body": True})
        try:
            async for body in self._events:
                await send({"type": "http.response.body", "body": body, "more_body": True})
            body = b""
        except EngineError as error:
            body = b"data: " + orjson.dumps(api_error(error).body) + b"\n\n"
        await send({"type": "http.response.body", "body": body, "more_body": False})
