"""A reply of server-sent events, and noticing that nobody reads it any more.

In place of Starlette's StreamingResponse: one task less for each reply, and errors become events.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from server.api.errors import api_error
from server.engine.base import EngineError

CLIENT_GONE = 499
"""Status that is counted, and that nobody receives, when the client has left (nginx's)."""


class ClientGone(Exception):
    """Whoever asked has closed the connection."""


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncGenerator[None, None]:
    """Break the block off when the client goes away; its request must have been read. Raises
    ClientGone."""
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
    """Sends events as they come, after `headers` that are asked for when the first is there.

    A failure before the first event is a plain error reply; after it, an error event, and never a
    [DONE] that looks fine.
    """

    def __init__(
        self, events: AsyncGenerator[bytes, None], headers: Callable[[], Mapping[str, str]]
    ) -> None:
        super().__init__(media_type="text/event-stream")
        del self.body  # else its length would be announced
        self._events, self._more_headers = events, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with while_connected(receive):
                await self._send(send)
        except ClientGone:
            if self.status_code != CLIENT_GONE:
                return
            await Response(status_code=CLIENT_GONE)(scope, receive, send)
        finally:
            await self._events.aclose()

    async def _send(self, send: Send) -> None:
        self.status_code = CLIENT_GONE  # until there is something to say
        body = await anext(self._events)
        self.status_code = 200
        self.init_headers({"content-type": "text/event-stream", **self._more_headers()})
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
