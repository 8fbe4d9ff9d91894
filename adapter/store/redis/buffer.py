"""The rollout buffer on Redis Streams: one stream, one consumer group, one consumer name.

Every learner uses that name, so a restarted one gets what its predecessor left unsettled; the
learner lease keeps two from running at once.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from adapter.store.buffer import (
    ATTENDANCE_SECONDS,
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
from adapter.store.redis import buffer_scripts as scripts
from adapter.store.redis import connection as keys
from adapter.store.redis.connection import NoConsumerGroup, connect, reach
from adapter.store.wire import WireError, pack_aside, unpack_aside
from rewards.rollouts import RolloutGroup

_CONSUMERS = "learner"
_SEEN_SECONDS = 7 * 86_400
_DEAD_KEPT = 1_000
_ATTENDANCE = round(ATTENDANCE_SECONDS * 1000)
_CONFIRMED_SECONDS = 3_600

_WAITING = (keys.GROUPS, keys.GROUPS_BYTES, keys.GROUPS_TOTALS)
_KEPT = (keys.GROUPS_KEPT, keys.GROUPS_KEPT_BYTES)
_CHUNK = 16
"""Entries that one script processes of a long stream."""


class RedisBuffer:
    """Shared by any number of servers and one learner."""

    def __init__(self, url: str, limits: BufferLimits | None = None) -> None:
        self._redis: Any = connect(url)
        self._limits = limits or BufferLimits()
        self._history: str | None = "0"

    async def append(self, group: RolloutGroup) -> Append:
        return (await self.append_all([group]))[0]

    async def append_all(self, groups: Sequence[RolloutGroup]) -> list[Append]:
        pipe, limits = self._redis.pipeline(transaction=False), self._limits
        outcomes = dict[str, Append]()
        for group in groups:
            try:
                packed = await pack_aside(group)
            except WireError:
                outcomes[group.id] = Append.TOO_LARGE
                continue
            names = [*_WAITING, keys.GROUPS_SEEN + group.id, keys.OPTED_OUT]
            client, holder = pseudonyms(group.client)
            pipe.eval(
                scripts.APPEND, len(names), *names, packed, limits.max_groups, limits.max_bytes,
                _SEEN_SECONDS, client, group.id, group.policy_version, holder,
            )  # fmt: skip
        replies: list[bytes] = await reach(pipe.execute())
        sent = iter(replies)
        return [outcomes.get(group.id) or Append(next(sent).decode()) for group in groups]

    async def read(self, count: int, wait: float) -> list[Delivery]:
        if self._history is not None:
            left = await self._read(self._history, count, None)
            if left:
                self._history = left[-1][0].decode()
                return [await _delivery(entry, f, await self._attempts(entry)) for entry, f in left]
            self._history = None
        fresh = await self._newest(count)
        if not fresh:  # then what comes next is the newest
            fresh = await self._read(">", count, max(1, round(wait * 1000)))
        return [await _delivery(entry, fields, 1) for entry, fields in fresh]

    async def drop_unread(self, keep: Collection[int], outcome: Outcome) -> int:
        total, start = 0, "-"
        while start:
            gone, last = await self._run(
                scripts.DROP, _WAITING, _CONSUMERS, outcome, start, _CHUNK, *keep
            )
            total += gone
            start = "(" + last.decode() if last else ""
        return total

    async def rewind(self) -> None:
        self._history = "0"

    async def hold(self, delivery: Delivery) -> int:
        pipe = self._redis.pipeline(transaction=True)
        pipe.hincrby(keys.GROUPS_HELD, delivery.entry, 1).expire(keys.GROUPS_HELD, _SEEN_SECONDS)
        held, _ = await reach(pipe.execute())
        return int(held) - 1

    async def release(self, delivery: Delivery) -> None:
        await reach(self._redis.hdel(keys.GROUPS_HELD, delivery.entry))

    async def settle(self, deliveries: Sequence[Delivery], outcome: Outcome) -> None:
        rows = [value for d in deliveries for value in (d.entry, d.size)]
        if rows:
            kept, names = self._limits.bytes_kept(outcome), [*_WAITING, *_KEPT]
            await self._run(scripts.SETTLE, names, _CONSUMERS, outcome, kept, *rows)

    async def dead_letter(self, delivery: Delivery, reason: DeadReason, detail: str = "") -> None:
        names, said = [*_WAITING, keys.GROUPS_DEAD], (detail or reason)[:DETAIL_CHARS]
        kept = min(DEAD_BYTES, self._limits.max_bytes)
        arguments = _CONSUMERS, delivery.entry, said, _DEAD_KEPT, Outcome.DEAD, kept
        await self._run(scripts.DEAD, names, *arguments)

    async def expire(self) -> int:
        names = [*_WAITING, keys.GROUPS_DEAD, *_KEPT]
        limits = self._limits.retention_seconds, self._limits.keep_trained_seconds
        ages = [round(seconds * 1000) for seconds in limits]
        total, more = 0, 1
        while more:
            expired, more = await self._run(scripts.EXPIRE, names, _CONSUMERS, *ages, _CHUNK)
            total += expired
        return total

    async def forget(self, client: str) -> Forgotten:
        return Forgotten(
            waiting=await self._forget(client, *_WAITING),
            dead=await self._forget(client, keys.GROUPS_DEAD),
            kept=await self._forget(client, *_KEPT),
        )

    async def replay(self, group_ids: Collection[str]) -> int:
        wanted = {group_id.encode() for group_id in group_ids}
        names, replayed, start = [*_WAITING, *_KEPT, keys.GROUPS_REPLAYED], 0, "-"
        while found := await reach(self._redis.xrange(keys.GROUPS_KEPT, start, "+", _CHUNK)):
            for entry, fields in found:
                if fields[b"i"] in wanted:
                    replayed += await self._run(scripts.REPLAY, names, entry)
            start = "(" + found[-1][0].decode()
        return replayed

    async def opt_out(self, client: str) -> None:
        await reach(self._redis.sadd(keys.OPTED_OUT, client))

    async def opt_in(self, client: str) -> None:
        await reach(self._redis.srem(keys.OPTED_OUT, client))

    async def opted_out(self) -> frozenset[str]:
        members = await reach(self._redis.smembers(keys.OPTED_OUT))
        return frozenset(member.decode() for member in members)

    async def attend(self, server: str) -> None:
        await self._run(scripts.ATTEND, [keys.SERVERS], server, _ATTENDANCE)

    async def confirm(self, server: str, client: str, removed: Mapping[str, int]) -> None:
        pipe, name = self._redis.pipeline(transaction=True), keys.FORGOTTEN + client
        pipe.hset(name, server, orjson.dumps(dict(removed))).expire(name, _CONFIRMED_SECONDS)
        await reach(pipe.execute())

    async def confirmations(self, client: str) -> Mapping[str, Mapping[str, int] | None]:
        there: list[bytes] = await self._run(scripts.ATTENDING, [keys.SERVERS], _ATTENDANCE)
        said: dict[bytes, bytes] = await reach(self._redis.hgetall(keys.FORGOTTEN + client))
        return {
            server.decode(): orjson.loads(said[server]) if server in said else None
            for server in sorted({*there, *said})
        }

    async def state(self) -> BufferState:
        pipe = self._redis.pipeline(transaction=True)
        pipe.xlen(keys.GROUPS).get(keys.GROUPS_BYTES).hgetall(keys.GROUPS_TOTALS)
        pipe.eval(scripts.PRELUDE + scripts.AGE, 1, keys.GROUPS)
        waiting, size, totals, age = await reach(pipe.execute())
        named = {name.decode(): int(count) for name, count in totals.items()}
        return BufferState(waiting, int(size or 0), named, age / 1000)

    async def close(self) -> None:
        await self._redis.aclose()

    async def _forget(self, client: str, *names: str) -> int:
        total, start = 0, "-"
        while start:
            gone, last = await self._run(scripts.FORGET, names, _CONSUMERS, client, start, _CHUNK)
            total += gone
            start = "(" + last.decode() if last else ""
        return total

    async def _run(self, script: str, names: Sequence[str], *arguments: Any) -> Any:
        script = scripts.PRELUDE + script
        return await reach(self._redis.eval(script, len(names), *names, *arguments))

    async def _read(self, start: str, count: int, block: int | None) -> list[Any]:
        stream = {keys.GROUPS: start}
        read = functools.partial(self._redis.xreadgroup, _CONSUMERS, _CONSUMERS, stream)
        try:
            reply = await reach(read(count=count, block=block))
        except NoConsumerGroup:
            await reach(self._redis.xgroup_create(keys.GROUPS, _CONSUMERS, id="0", mkstream=True))
            reply = await reach(read(count=count, block=block))
        return list(reply[0][1]) if reply else []

    async def _newest(self, count: int) -> list[Any]:
        names = [keys.GROUPS, keys.GROUPS_REPLAYED]
        try:
            found = await self._run(scripts.NEWEST, names, _CONSUMERS, count)
        except NoConsumerGroup:
            return []
        return [(entry, dict(zip(flat[::2], flat[1::2], strict=True))) for entry, flat in found]

    async def _attempts(self, entry: bytes) -> int:
        pending = await reach(self._redis.xpending_range(keys.GROUPS, _CONSUMERS, entry, entry, 1))
        return int(pending[0]["times_delivered"]) if pending else 1


async def _delivery(entry: bytes, fields: dict[bytes, bytes], attempts: int) -> Delivery:
    data = fields[b"g"]
    return Delivery(
        entry=entry.decode(), group=await unpack_aside(data), size=len(data), attempts=attempts,
        replay=b"r" in fields,
    )  # fmt: skip
