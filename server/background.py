"""The background tasks of one server process: started together, watched, and ended in order."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from adapter.tasks import end

log = logging.getLogger("ratchet.server")


@asynccontextmanager
async def in_background(
    jobs: Sequence[Coroutine[Any, Any, None]], failed: asyncio.Event
) -> AsyncGenerator[None]:
    """Run the jobs during the block. `failed` is set if one ends, which none should: it is better
    to restart the process than to go on without learning or promoting."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.critical("a background task has failed", exc_info=task.exception())
            failed.set()

    tasks = [asyncio.create_task(job) for job in jobs]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        await end(tasks)
