"""The lease that makes one process at a time the learner, so that no two publish."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from adapter.store.buffer import BufferUnavailable
from adapter.store.releases import Fenced, ReleaseStore
from adapter.tasks import beside

log = logging.getLogger("ratchet.learner")

T = TypeVar("T")


async def acquire(releases: ReleaseStore, seconds: float) -> int:
    """Stand by until no other learner holds the lease. Returns its fencing token."""
    while (token := await releases.acquire(seconds)) is None:
        log.info("another learner holds the lease; standing by")
        await asyncio.sleep(seconds / 3)
    return token


async def under_lease(
    releases: ReleaseStore, token: int, seconds: float, work: Coroutine[Any, Any, T]
) -> T:
    """Do `work` while renewing the lease, then resign it. Raises Fenced once the lease is lost."""
    try:
        return await beside(_renew(releases, token, seconds), work)
    finally:
        with contextlib.suppress(BufferUnavailable):
            await releases.resign(token)


async def _renew(releases: ReleaseStore, token: int, seconds: float) -> NoReturn:
    while await releases.renew(token, seconds):
        await asyncio.sleep(seconds / 3)
    raise Fenced(f"lease {token} was lost")
