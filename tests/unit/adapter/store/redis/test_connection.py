"""What the one place where Redis is reached adds to its client."""

import asyncio

import pytest

from adapter.store.redis.connection import reach


async def test_a_cancellation_that_the_client_loses_is_raised_all_the_same() -> None:
    started = asyncio.Event()

    async def reply() -> bytes:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # so asyncio.wait_for does in 3.11 if the reply is there
            return b"OK"
        return b""

    task = asyncio.create_task(reach(reply()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cleaning_up_after_a_cancellation_may_still_ask() -> None:
    async def reply() -> bytes:
        return b"OK"

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(await reach(reply()))

    cleaned: list[bytes] = []
    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [b"OK"]
