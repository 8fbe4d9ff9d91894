"""The background tasks of one server process: started together, watched, and ended in order."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from adapter.tasks import end

log = logging.getLogger("ratchet.server")


class Background:
    """`failed` is set when a task has ended, which none should: better to be started anew than to
    go on without learning or promoting."""

    def __init__(self) -> None:
        self.failed = asyncio.Event()

    @asynccontextmanager
    async def running(
        self, jobs: Sequence[Coroutine[Any, Any, None]]
    ) -> AsyncGenerator[None, None]:
        """Run the jobs for as long as the block."""
        tasks = [asyncio.create_task(job) for job in jobs]
        for task in tasks:
            task.add_done_callback(self._ended)
        try:
            yield
        finally:
            await end(tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            log.critical("a background task has failed", exc_info=task.exception())
            self.failed.set()
