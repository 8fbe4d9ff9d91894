"""What an observer sees of a running stack: memory, backlog, versions and their verdicts."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from adapter.store.channels import open_releases
from adapter.store.releases import AdapterRelease, ReleaseState
from ratchet.local.stack import Stack


@dataclass(slots=True)
class Watcher:
    """Follows the stack from outside while questions stream: memory, backlog, versions."""

    stack: Stack
    backlog_limit: int
    peak_bytes: dict[str, int] = field(default_factory=dict[str, int])
    backlog: int = 0
    live: int = 0
    promoted: int = 0
    rejected: int = 0
    waiting: int = 0
    looks: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Look twice a second for as long as the block runs."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch())
            yield
            watching.cancel()

    async def _watch(self) -> None:
        address = self.stack.url.removesuffix("/v1") + "/metrics"
        store = open_releases(self.stack.settings)
        try:
            async with aiohttp.ClientSession() as session:
                while True:
                    self._note_memory(await asyncio.to_thread(self.stack.memory))
                    async with session.get(address) as reply:
                        for line in (await reply.text()).splitlines():
                            if line.startswith("ratchet_buffer_groups "):
                                self.backlog = int(float(line.split()[1]))
                    self.live = await store.live()
                    self.count(await store.all())
                    self.looks += 1
                    await asyncio.sleep(0.5)
        finally:
            await store.close()

    def _note_memory(self, now: dict[str, int]) -> None:
        if sum(now.values()) > sum(self.peak_bytes.values()):
            self.peak_bytes = now

    def count(self, releases: Sequence[AdapterRelease]) -> None:
        """Tally verdicts."""
        states = [release.state for release in releases]
        self.promoted = sum(s in (ReleaseState.LIVE, ReleaseState.RETIRED) for s in states)
        self.rejected = states.count(ReleaseState.REJECTED)
        self.waiting = states.count(ReleaseState.CANDIDATE)

    async def room(self) -> None:
        """Wait while the learner has a backlog: old rollouts would only be dropped."""
        while self.backlog > self.backlog_limit:
            await asyncio.sleep(0.05)

    async def settled(self) -> None:
        """Wait until too little is left for another update, and every candidate is judged. What the
        buffer holds is looked at before the candidates, so that none is missed between the two."""
        seen = self.looks + 1  # what was recorded just now is not in the last look
        while (
            self.looks <= seen
            or self.backlog >= self.stack.settings.groups_per_update
            or self.waiting
        ):
            await asyncio.sleep(0.1)
