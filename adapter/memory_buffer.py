"""A rollout buffer inside one process: for trying things out, and for tests."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence

from adapter.buffer import DEAD, Append, BufferState, Delivery
from adapter.wire import pack, unpack
from rewards.rollouts import RolloutGroup


class MemoryBuffer:
    """Keeps packed groups, so that it has the limits and the fidelity of the real one."""

    def __init__(self, max_bytes: int = 1 << 30, max_groups: int = 50_000) -> None:
        self._max_bytes, self._max_groups = max_bytes, max_groups
        self._entries: OrderedDict[str, bytes] = OrderedDict()
        self._unread: deque[str] = deque()
        self._seen: set[str] = set()
        self._totals: Counter[str] = Counter()
        self._bytes = 0
        self._attempts: Counter[str] = Counter()
        self._next = 0
        self._arrived = asyncio.Condition()
        self.dead: list[tuple[str, str]] = []

    async def append(self, group: RolloutGroup) -> Append:
        if group.id in self._seen:
            return Append.DUPLICATE
        data = pack(group)
        if len(self._entries) >= self._max_groups or self._bytes + len(data) > self._max_bytes:
            return Append.FULL
        self._seen.add(group.id)
        self._next += 1
        entry = str(self._next)
        self._entries[entry] = data
        self._bytes += len(data)
        self._totals["accepted"] += 1
        async with self._arrived:
            self._unread.append(entry)
            self._arrived.notify_all()
        return Append.RECORDED

    async def read(self, count: int, wait: float) -> list[Delivery]:
        async with self._arrived:
            if not self._unread:
                try:
                    async with asyncio.timeout(wait):
                        await self._arrived.wait_for(lambda: bool(self._unread))
                except TimeoutError:
                    return []
            entries = [self._unread.popleft() for _ in range(min(count, len(self._unread)))]
        self._attempts.update(entries)
        return [
            Delivery(entry, unpack(data), len(data), self._attempts[entry])
            for entry in entries
            if (data := self._entries.get(entry)) is not None
        ]

    async def rewind(self) -> None:
        self._unread = deque(self._entries)

    async def settle(self, deliveries: Sequence[Delivery], outcome: str) -> None:
        for delivery in deliveries:
            data = self._entries.pop(delivery.entry, None)
            if data is not None:
                self._bytes -= len(data)
                del self._attempts[delivery.entry]
                self._totals[outcome] += 1

    async def bury(self, delivery: Delivery, reason: str) -> None:
        self.dead.append((delivery.entry, reason))
        await self.settle([delivery], DEAD)

    async def state(self) -> BufferState:
        return BufferState(len(self._entries), self._bytes, dict(self._totals))

    async def close(self) -> None:
        self._unread.clear()
