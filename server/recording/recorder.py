"""Takes finished groups off the reply path and into the rollout buffer.

Bounded, and never in a reply's way: when Redis is slow or gone, groups wait in memory up to a limit
and are then dropped with a counted reason. Whom nothing may be kept of is known from a copy.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Sequence

from adapter.store.buffer import BufferUnavailable, RolloutBuffer
from adapter.store.clients import pseudonym
from rewards.rollouts import RolloutGroup
from server.metrics import ServerMetrics
from server.policy.reasons import Unrecorded

log = logging.getLogger("ratchet.recorder")

_BATCH = 32
_MAX_TOKENS = 4_000_000
"""What waits is kept in memory: 12 bytes a token."""
_RETRY_SECONDS = 0.5
_EXPIRE_SECONDS = 60.0


class Recorder:
    """One per server process. `run` until cancelled."""

    def __init__(
        self,
        buffer: RolloutBuffer,
        limit: int,
        metrics: ServerMetrics,
        on_opt_out: Callable[[Collection[str]], None],
    ) -> None:
        self._buffer, self._metrics = buffer, metrics
        self._on_opt_out = on_opt_out
        self._queue: asyncio.Queue[RolloutGroup] = asyncio.Queue(limit)
        self._tokens = 0
        self._reachable = False
        self.waiting = 0
        """Groups in the buffer when last looked."""
        self._opted_out: frozenset[str] = frozenset()

    @property
    def reachable(self) -> bool:
        """Whether the buffer answered lately."""
        return self._reachable

    def refuses(self, client: str) -> bool:
        """Whether nothing may be kept of this client."""
        return pseudonym(client) in self._opted_out

    def hindrance(self) -> Unrecorded | None:
        """Why a group would not be accepted now, which counts as one that was not; or None."""
        if not self._reachable:
            return self._refuse(Unrecorded.BUFFER_UNAVAILABLE)
        if self._queue.full() or self._tokens > _MAX_TOKENS:
            return self._refuse(Unrecorded.RECORDER_FULL)
        return None

    def offer(self, group: RolloutGroup) -> Unrecorded | None:
        """Accept a group for recording: None, or the reason why it is not."""
        if reason := self.hindrance():
            return reason
        self._queue.put_nowait(group)
        self._tokens += _tokens(group)
        return None

    async def run(self) -> None:
        """Move groups to the buffer in order, as many at a time as are there."""
        while True:
            groups = [await self._queue.get()]
            while len(groups) < _BATCH and not self._queue.empty():
                groups.append(self._queue.get_nowait())
            await self._store(groups)
            for group in groups:
                self._tokens -= _tokens(group)
                self._queue.task_done()

    async def watch(self, seconds: float = 1.0) -> None:
        """Keep gauges and opt-outs current, let old groups expire, notice when Redis comes back."""
        expired = -_EXPIRE_SECONDS
        while True:
            await self.look()
            if self._reachable and time.monotonic() - expired >= _EXPIRE_SECONDS:
                with contextlib.suppress(BufferUnavailable):
                    self._metrics.buffer_expired.inc(await self._buffer.expire())
                    expired = time.monotonic()
            await asyncio.sleep(seconds)

    async def look(self) -> None:
        """Find out whether the buffer can be reached, how full it is, and who has opted out."""
        try:
            state = await self._buffer.state()
            opted_out = await self._buffer.opted_out()
        except BufferUnavailable:
            self._reachable = False
        else:
            self._reachable = True
            self.waiting = state.waiting
            self._metrics.buffer_groups.set(state.waiting)
            self._metrics.buffer_bytes.set(state.size)
            self._metrics.buffer_oldest_seconds.set(state.oldest_seconds)
            if opted_out != self._opted_out:
                self._opted_out = opted_out
                self._on_opt_out(opted_out)
        self._metrics.buffer_up.set(self._reachable)
        self._metrics.recorder_groups.set(self._queue.qsize())

    async def flush(self) -> None:
        """Wait until everything accepted is stored."""
        await self._queue.join()

    async def _store(self, groups: Sequence[RolloutGroup]) -> None:
        while True:
            try:
                outcomes = await self._buffer.append_all(groups)
            except BufferUnavailable as error:
                if self._reachable:
                    log.warning("groups wait: %s", error)
                self._reachable = False
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._reachable = True
                for outcome in outcomes:
                    self._metrics.groups[outcome.value].inc()
                return

    def _refuse(self, reason: Unrecorded) -> Unrecorded:
        self._metrics.groups[reason].inc()
        return reason


def _tokens(group: RolloutGroup) -> int:
    return sum(len(rollout.token_ids) for rollout in group.rollouts)
