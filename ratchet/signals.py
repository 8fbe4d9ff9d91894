"""Ends a command in order on SIGTERM or SIGINT."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any


async def until_signalled(work: Coroutine[Any, Any, int | None]) -> int | None:
    """Run until done, or until a signal cancels the work."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        print("stopped", file=sys.stderr)
        return None
