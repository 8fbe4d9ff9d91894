"""Takes finished groups off the reply path and into the rollout buffer.

It is bounded and never delays a reply: when Redis is slow or gone, groups wait in memory up to a
limit and are then dropped with a counted reason. Opt-outs are known from a copy of the buffer's.
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from adapter.store.buffer import Append, BufferUnavailable, RolloutBuffer
from adapter.store.clients import pseudonyms
from rewards.rollouts import RolloutGroup
from server.metrics import ServerMetrics
from server.policy.reasons import Unrecorded

log = logging.getLogger("ratchet.recorder")

_BATCH, _BATCH_BYTES = 32, 6 << 20
"""Groups, and their bytes in memory, in one message to the buffer: seconds from its deadline."""
_MAX_BYTES = 48 << 20
"""Of the groups that wait in memory."""
_RETRY_SECONDS = 0.5
_EXPIRE_SECONDS = 60.0


class Recorder:
    """One per server process. `run` until cancelled."""

    def __init__(self, buffer: RolloutBuffer, limit: int, metrics: ServerMetrics) -> None:
        self._buffer, self._metrics = buffer, metrics
        self.on_opt_out: Callable[[str], Awaitable[Mapping[str, int]]] = _nothing
        """Called with each pseudonym that opts out; returns what it removed from memory."""
        self.name = f"{socket.gethostname()}/{os.getpid()}"
        """What this server is called in the report of `ratchet forget`."""
        self._attends = False
        self._unconfirmed: dict[str, Mapping[str, int]] = {}
        self._queue: asyncio.Queue[RolloutGroup] = asyncio.Queue(limit)
        self._bytes = 0
        self.reachable = False
        """Whether the buffer answered the last call."""
        self.waiting = 0
        """Groups in the buffer at the last check."""
        self._opted_out: frozenset[str] = frozenset()

    def has_opted_out(self, client: str) -> bool:
        """Whether nothing may be kept of this client."""
        return not self._opted_out.isdisjoint(pseudonyms(client))

    def refusal(self) -> Unrecorded | None:
        """Why a group cannot be accepted now, counted as a group that is not recorded; or None."""
        if not self.reachable:
            reason = Unrecorded.BUFFER_UNAVAILABLE
        elif self._queue.full() or self._bytes > _MAX_BYTES:
            reason = Unrecorded.RECORDER_FULL
        else:
            return None
        self._metrics.groups[reason].inc()
        return reason

    def record(self, group: RolloutGroup) -> None:
        """Accept a group, or count why it is not recorded."""
        if self.has_opted_out(group.client):  # since it was drawn
            self._metrics.groups[Append.OPTED_OUT].inc()
        elif self.refusal() is None:
            self._queue.put_nowait(group)
            self._bytes += bytes_of(group)

    async def run(self) -> None:
        """Move groups to the buffer in order, many at a time."""
        while True:
            groups = [await self._queue.get()]
            held = bytes_of(groups[0])
            while len(groups) < _BATCH and held < _BATCH_BYTES and not self._queue.empty():
                groups.append(self._queue.get_nowait())
                held += bytes_of(groups[-1])
            await self._store(groups)
            for group in groups:
                self._bytes -= bytes_of(group)
                self._queue.task_done()

    async def watch(self, seconds: float = 1.0) -> None:
        """Check the buffer until cancelled, and have old groups expire."""
        expired = -_EXPIRE_SECONDS
        while True:
            await self.check()
            if self.reachable and time.monotonic() - expired >= _EXPIRE_SECONDS:
                with contextlib.suppress(BufferUnavailable):
                    self._metrics.buffer_expired.inc(await self._buffer.expire())
                    expired = time.monotonic()
            await asyncio.sleep(seconds)

    async def check(self) -> None:
        """Update whether the buffer is reachable, how full it is, and which clients opted out."""
        try:
            state = await self._buffer.state()
            opted_out = await self._buffer.opted_out()
        except BufferUnavailable:
            self.reachable = False
        else:
            self.reachable = True
            self.waiting = state.waiting
            self._metrics.buffer_groups.set(state.waiting)
            self._metrics.buffer_bytes.set(state.size)
            self._metrics.buffer_oldest_seconds.set(state.oldest_seconds)
            await self._follow(opted_out)
        self._metrics.buffer_up.set(self.reachable)
        self._metrics.recorder_groups.set(self._queue.qsize())

    async def _follow(self, opted_out: frozenset[str]) -> None:
        """Take over who has opted out, clear the memory of them, and tell who waits for that."""
        new, first = opted_out - self._opted_out, not self._attends
        self._opted_out = opted_out  # from here on nothing of them is added
        for client in new:
            removed = await self.on_opt_out(client)
            if not first:
                self._unconfirmed[client] = removed
        with contextlib.suppress(BufferUnavailable):  # then with the next check
            while self._unconfirmed:
                client, removed = next(iter(self._unconfirmed.items()))
                await self._buffer.confirm(self.name, client, removed)
                del self._unconfirmed[client]
            await self._buffer.attend(self.name)
            self._attends = True

    async def flush(self) -> None:
        """Wait until every accepted group is stored."""
        await self._queue.join()

    async def _store(self, groups: Sequence[RolloutGroup]) -> None:
        while True:
            try:
                outcomes = await self._buffer.append_all(groups)
            except BufferUnavailable as error:
                if self.reachable:
                    log.warning("groups wait in memory: %s", error)
                self.reachable = False
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self.reachable = True
                for outcome in outcomes:
                    self._metrics.groups[outcome.value].inc()
                return


async def _nothing(_: str) -> Mapping[str, int]:
    return {}


def bytes_of(group: RolloutGroup) -> int:
    """About how many bytes a group takes in memory: 12 a token, and its texts."""
    tokens = len(group.prompt_ids) + sum(len(rollout.token_ids) for rollout in group.rollouts)
    return 12 * tokens + len(group.prompt) + sum(len(rollout.text) for rollout in group.rollouts)
