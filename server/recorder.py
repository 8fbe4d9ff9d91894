"""Takes finished groups off the reply path and into the rollout buffer.

Bounded, and never in a reply's way: when Redis is slow or gone, groups wait in memory up to a limit
and are then dropped with a counted reason.
"""

import asyncio
import contextlib
import logging

from adapter.buffer import Append, BufferUnavailable, RolloutBuffer
from rewards.rollouts import RolloutGroup
from server.metrics import ServerMetrics

log = logging.getLogger("ratchet.recorder")

UNAVAILABLE = "buffer_unavailable"
_RETRY_SECONDS = 0.5


class Recorder:
    """One per server process. `run` until cancelled."""

    def __init__(self, buffer: RolloutBuffer, limit: int, metrics: ServerMetrics) -> None:
        self._buffer, self._metrics = buffer, metrics
        self._queue: asyncio.Queue[RolloutGroup] = asyncio.Queue(limit)
        self._reachable = False

    def offer(self, group: RolloutGroup) -> str | None:
        """Accept a group for recording: None, or the reason why it is not."""
        if not self._reachable:
            return self._refuse(UNAVAILABLE)
        try:
            self._queue.put_nowait(group)
        except asyncio.QueueFull:
            return self._refuse("recorder_full")
        return None

    async def run(self) -> None:
        """Move groups to the buffer, one at a time, in order."""
        while True:
            group = await self._queue.get()
            await self._store(group)
            self._queue.task_done()

    async def watch(self, seconds: float = 1.0) -> None:
        """Keep the buffer's gauges current, and notice when it comes back."""
        while True:
            await self.look()
            await asyncio.sleep(seconds)

    async def look(self) -> None:
        """Find out whether the buffer can be reached, and how full it is."""
        try:
            state = await self._buffer.state()
        except BufferUnavailable:
            self._reachable = False
        else:
            self._reachable = True
            self._metrics.buffer_groups.set(state.waiting)
            self._metrics.buffer_bytes.set(state.size)
        self._metrics.buffer_up.set(self._reachable)

    async def flush(self, seconds: float) -> None:
        """Wait until everything accepted is stored, but not longer than `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._queue.join()

    async def _store(self, group: RolloutGroup) -> None:
        while True:
            try:
                outcome = await self._buffer.append(group)
            except BufferUnavailable as error:
                if self._reachable:
                    log.warning("groups wait: %s", error)
                self._reachable = False
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._reachable = True
                counted = "recorded" if outcome is Append.RECORDED else outcome.value
                self._metrics.groups.labels(counted).inc()
                return

    def _refuse(self, reason: str) -> str:
        self._metrics.groups.labels(reason).inc()
        return reason
