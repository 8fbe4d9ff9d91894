"""A rollout buffer inside one process, for trials and tests."""

import asyncio
import itertools
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from adapter.store.buffer import (
    DEAD_BYTES,
    DETAIL_CHARS,
    Append,
    BufferLimits,
    BufferState,
    DeadReason,
    Delivery,
    Forgotten,
    Outcome,
)
from adapter.store.clients import pseudonyms
from adapter.store.wire import WireError, pack_aside, unpack_aside
from rewards.rollouts import RolloutGroup


@dataclass(frozen=True, slots=True)
class _Entry:
    group_id: str
    clients: tuple[str, str]
    version: int
    data: bytes
    since: float
    replay: bool = False
    reason: str = ""


class MemoryBuffer:
    """Keeps groups packed, so that its limits and its fidelity are those of RedisBuffer."""

    def __init__(self, limits: BufferLimits | None = None) -> None:
        self._limits = limits or BufferLimits()
        self._entries: dict[str, _Entry] = {}
        self._kept: deque[_Entry] = deque()
        self._dead: deque[_Entry] = deque()
        self._unread: deque[str] = deque()
        self._again: deque[str] = deque()
        self._seen: set[str] = set()
        self._opted_out: set[str] = set()
        self._servers: set[str] = set()
        self._confirmed: dict[str, dict[str, Mapping[str, int]]] = {}
        self._totals: Counter[str] = Counter()
        self._bytes = 0
        self._attempts: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._names = itertools.count(1)
        self._arrived = asyncio.Condition()

    @property
    def dead(self) -> list[tuple[str, str]]:
        """Group ids and reasons of the dead letters."""
        return [(entry.group_id, entry.reason) for entry in self._dead]

    async def append(self, group: RolloutGroup) -> Append:
        clients = pseudonyms(group.client)
        if not self._opted_out.isdisjoint(clients):
            return Append.OPTED_OUT
        if group.id in self._seen:
            return Append.DUPLICATE
        try:
            self._seen.add(group.id)
            data, limits = await pack_aside(group), self._limits
        except WireError:
            return Append.TOO_LARGE
        if len(self._entries) >= limits.max_groups or self._bytes + len(data) > limits.max_bytes:
            self._seen.discard(group.id)
            return Append.FULL
        self._totals["accepted"] += 1
        await self._add(_Entry(group.id, clients, group.policy_version, data, time.monotonic()))
        return Append.RECORDED

    async def append_all(self, groups: Sequence[RolloutGroup]) -> list[Append]:
        return [await self.append(group) for group in groups]

    async def read(self, count: int, wait: float) -> list[Delivery]:
        async with self._arrived:
            if not (self._again or self._unread):
                try:
                    async with asyncio.timeout(wait):
                        await self._arrived.wait_for(lambda: bool(self._unread))
                except TimeoutError:
                    return []
            names = self._take(count)
        found = [(name, self._entries[name]) for name in names if name in self._entries]
        self._attempts.update(name for name, _ in found)
        return [
            Delivery(
                entry=name, group=await unpack_aside(entry.data), size=len(entry.data),
                attempts=self._attempts[name], replay=entry.replay,
            )
            for name, entry in found
        ]  # fmt: skip

    def _take(self, count: int) -> list[str]:
        """The entries to deliver next, which then count as read."""
        if self._again:
            return [self._again.popleft() for _ in range(min(count, len(self._again)))]
        there = [name for name in self._unread if name in self._entries]
        newest_first = reversed(there)
        names = sorted(newest_first, key=lambda name: not self._entries[name].replay)[:count]
        self._unread = deque(name for name in there if name not in names)
        return names

    async def drop_unread(self, keep: Collection[int], outcome: Outcome) -> int:
        dropped = 0
        for name in list(self._unread):
            entry = self._entries.get(name)
            if entry is None or entry.replay:
                continue
            if entry.version in keep:
                break
            self._unread.remove(name)
            self._remove(name, outcome)
            dropped += 1
        return dropped

    async def rewind(self) -> None:
        self._again = deque(name for name in self._entries if self._attempts[name])

    async def hold(self, delivery: Delivery) -> int:
        self._held[delivery.entry] += 1
        return self._held[delivery.entry] - 1

    async def release(self, delivery: Delivery) -> None:
        del self._held[delivery.entry]

    async def settle(self, deliveries: Sequence[Delivery], outcome: Outcome) -> None:
        for delivery in deliveries:
            entry = self._remove(delivery.entry, outcome)
            if entry is not None and self._limits.bytes_kept(outcome):
                self._kept.append(replace(entry, since=time.monotonic(), replay=False))
        while sum(len(entry.data) for entry in self._kept) > self._limits.max_bytes:
            self._kept.popleft()

    async def dead_letter(self, delivery: Delivery, reason: DeadReason, detail: str = "") -> None:
        entry = self._remove(delivery.entry, Outcome.DEAD)
        if entry is not None:
            said = (detail or reason)[:DETAIL_CHARS]
            self._dead.append(replace(entry, since=time.monotonic(), reason=said))
            kept = min(DEAD_BYTES, self._limits.max_bytes)
            while len(self._dead) > 1 and sum(len(one.data) for one in self._dead) > kept:
                self._dead.popleft()

    async def expire(self) -> int:
        now = time.monotonic()
        oldest = now - self._limits.retention_seconds
        old = [name for name, e in self._entries.items() if e.since <= oldest]
        for name in old:
            self._remove(name, Outcome.EXPIRED)
        self._dead = deque(e for e in self._dead if e.since > oldest)
        oldest = now - self._limits.keep_trained_seconds
        self._kept = deque(e for e in self._kept if e.since > oldest)
        return len(old)

    async def forget(self, client: str) -> Forgotten:
        waiting = [name for name, entry in self._entries.items() if client in entry.clients]
        for name in waiting:
            self._remove(name, Outcome.FORGOTTEN)
        dead, kept = len(self._dead), len(self._kept)
        self._dead = deque(entry for entry in self._dead if client not in entry.clients)
        self._kept = deque(entry for entry in self._kept if client not in entry.clients)
        return Forgotten(len(waiting), dead - len(self._dead), kept - len(self._kept))

    async def replay(self, group_ids: Collection[str]) -> int:
        back = [entry for entry in self._kept if entry.group_id in group_ids]
        self._kept = deque(entry for entry in self._kept if entry.group_id not in group_ids)
        for entry in back:
            self._totals[Outcome.TRAINED] -= 1
            await self._add(replace(entry, since=time.monotonic(), replay=True))
        return len(back)

    async def opt_out(self, client: str) -> None:
        self._opted_out.add(client)

    async def opt_in(self, client: str) -> None:
        self._opted_out.discard(client)

    async def opted_out(self) -> frozenset[str]:
        return frozenset(self._opted_out)

    async def attend(self, server: str) -> None:
        self._servers.add(server)

    async def confirm(self, server: str, client: str, removed: Mapping[str, int]) -> None:
        self._confirmed.setdefault(client, {})[server] = removed

    async def confirmations(self, client: str) -> Mapping[str, Mapping[str, int] | None]:
        said = self._confirmed.get(client, {})
        return {server: said.get(server) for server in sorted({*self._servers, *said})}

    async def state(self) -> BufferState:
        oldest = next(iter(self._entries.values()), None)
        age = 0.0 if oldest is None else time.monotonic() - oldest.since
        return BufferState(len(self._entries), self._bytes, dict(self._totals), age)

    async def close(self) -> None:
        self._unread.clear()
        self._again.clear()

    async def _add(self, entry: _Entry) -> None:
        name = str(next(self._names))
        self._entries[name] = entry
        self._bytes += len(entry.data)
        async with self._arrived:
            self._unread.append(name)
            self._arrived.notify_all()

    def _remove(self, name: str, outcome: Outcome) -> _Entry | None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes -= len(entry.data)
            del self._attempts[name]
            self._totals[outcome] += 1
        return entry
