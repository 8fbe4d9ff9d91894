"""A stack observed from outside while questions stream: memory, backlog, versions and verdicts."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp

from adapter.store.channels import open_releases
from adapter.store.releases import ReleaseState
from ratchet.local.stack import Stack

_POLL_SECONDS = 0.5
_MEMORY_POLLS = 10
"""Polls from one reading of memory to the next: the kernel walks every page of gigabytes for it."""
_AHEAD = 2
"""Updates whose groups may wait, with the one that is learnt from."""


class Watcher:
    """Polls a stack. `backlog` are groups that wait for the learner, `promoted`, `rejected` and
    `waiting` releases by their verdict; `peak_bytes` is memory by process, when it was largest."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.peak_bytes: dict[str, int] = {}
        self.backlog, self.live = 0, 0
        self.promoted, self.rejected, self.waiting = 0, 0, 0
        self._polls = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Poll twice a second for as long as the block runs."""
        async with asyncio.TaskGroup() as tasks:
            polling = tasks.create_task(self._poll())
            yield
            polling.cancel()

    async def _poll(self) -> None:
        address = self._stack.url.removesuffix("/v1") + "/metrics"
        store = open_releases(self._stack.settings)
        try:
            async with aiohttp.ClientSession() as session:
                while True:
                    if self._polls % _MEMORY_POLLS == 0:
                        memory = await asyncio.to_thread(self._stack.memory)
                        self.peak_bytes = max(
                            self.peak_bytes, memory, key=lambda m: sum(m.values())
                        )
                    async with session.get(address) as reply:
                        for line in (await reply.text()).splitlines():
                            if line.startswith("ratchet_buffer_groups "):
                                self.backlog = int(float(line.split()[1]))
                    self.live = await store.live()
                    states = [release.state for release in await store.all()]
                    live_or_retired = (ReleaseState.LIVE, ReleaseState.RETIRED)
                    self.promoted = sum(state in live_or_retired for state in states)
                    self.rejected = states.count(ReleaseState.REJECTED)
                    self.waiting = states.count(ReleaseState.CANDIDATE)
                    self._polls += 1
                    await asyncio.sleep(_POLL_SECONDS)
        finally:
            await store.close()

    async def until_backlog_is_low(self) -> None:
        """Wait while the learner is behind: it would only drop older rollouts as stale. While a
        candidate is judged, the next one's groups are enough: then the engine is the gate's."""
        if self._stack.settings.budget:  # then a verdict waits for questions
            return
        enough = self._enough
        ahead = _AHEAD * self._stack.settings.groups_per_update
        while self.backlog > (enough if self.waiting else max(enough, ahead)):
            await asyncio.sleep(0.05)

    async def until_settled(self) -> None:
        """Wait until too little is left for another candidate and every one is judged. A poll reads
        the backlog before the candidates, so that it misses none between the two."""
        if self._stack.settings.budget:
            return
        last = self._polls + 1  # groups recorded since the last poll are not in it
        while self._polls <= last or self.backlog >= self._enough or self.waiting:
            await asyncio.sleep(0.1)

    @property
    def _enough(self) -> int:
        """Groups of a candidate."""
        settings = self._stack.settings
        return settings.groups_per_update * settings.updates_per_candidate
