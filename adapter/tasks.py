"""Asyncio tasks that end for certain."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended, whatever they end with: Python 3.11 can lose a cancellation that
    meets a reply in flight."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=0.5)
        for task in done:
            if not task.cancelled():
                task.exception()  # retrieved, or asyncio reports it as never retrieved


async def beside(companion: Coroutine[Any, Any, NoReturn], work: Coroutine[Any, Any, T]) -> T:
    """Do `work` while `companion` runs; raises what either raises. Both have ended afterwards."""
    tasks = asyncio.create_task(companion), asyncio.create_task(work)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        accompanying, working = tasks
        if accompanying.done():
            accompanying.result()
        return working.result()
    finally:
        await end(tasks)


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order; if one fails, the others are cancelled and that error is raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end(task for task in tasks if not task.done())
