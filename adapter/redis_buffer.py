"""The rollout buffer on Redis Streams: one stream, one consumer group, one consumer name.

The name is shared by every learner that ever runs, so a restarted one finds what its predecessor
left unsettled; the learner lease keeps two from running at once.
"""

from collections.abc import Sequence
from typing import Any

from adapter import redis_connection as keys
from adapter.buffer import DEAD, Append, BufferState, Delivery
from adapter.redis_connection import NoConsumerGroup, connect, reach
from adapter.wire import WireError, pack, unpack
from rewards.rollouts import RolloutGroup

_CONSUMERS = "learner"
_SEEN_SECONDS = 7 * 86_400
_DEAD_KEPT = 1_000

_APPEND = """
if redis.call('EXISTS', KEYS[3]) == 1 then return 'duplicate' end
local held = tonumber(redis.call('GET', KEYS[2]) or '0')
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) or held + #ARGV[1] > tonumber(ARGV[3]) then
  return 'buffer_full'
end
redis.call('SET', KEYS[3], '1', 'EX', ARGV[4])
redis.call('XADD', KEYS[1], '*', 'g', ARGV[1])
redis.call('INCRBY', KEYS[2], #ARGV[1])
redis.call('HINCRBY', KEYS[4], 'accepted', 1)
return 'recorded'
"""

_SETTLE = """
for i = 3, #ARGV, 2 do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    redis.call('DECRBY', KEYS[2], ARGV[i + 1])
    redis.call('HINCRBY', KEYS[3], ARGV[2], 1)
  end
end
"""


class RedisBuffer:
    """Shared by any number of servers and one learner."""

    def __init__(self, url: str, max_bytes: int = 1 << 30, max_groups: int = 50_000) -> None:
        self._redis: Any = connect(url)
        self._max_bytes, self._max_groups = max_bytes, max_groups
        self._history: str | None = "0"

    async def append(self, group: RolloutGroup) -> Append:
        reply: bytes = await reach(
            self._redis.eval(
                _APPEND,
                4,
                keys.GROUPS,
                keys.GROUPS_BYTES,
                keys.GROUPS_SEEN + group.id,
                keys.GROUPS_TOTALS,
                pack(group),
                self._max_groups,
                self._max_bytes,
                _SEEN_SECONDS,
            )
        )
        return Append(reply.decode())

    async def read(self, count: int, wait: float) -> list[Delivery]:
        if self._history is not None:
            left = await self._read(self._history, count, None)
            if left:
                self._history = left[-1][0].decode()
                return [_delivery(entry, f, await self._attempts(entry)) for entry, f in left]
            self._history = None
        fresh = await self._read(">", count, max(1, round(wait * 1000)))
        return [_delivery(entry, fields, 1) for entry, fields in fresh]

    async def rewind(self) -> None:
        self._history = "0"

    async def settle(self, deliveries: Sequence[Delivery], outcome: str) -> None:
        rows = [value for d in deliveries for value in (d.entry, d.size)]
        if rows:
            await reach(
                self._redis.eval(
                    _SETTLE,
                    3,
                    keys.GROUPS,
                    keys.GROUPS_BYTES,
                    keys.GROUPS_TOTALS,
                    _CONSUMERS,
                    outcome,
                    *rows,
                )
            )

    async def bury(self, delivery: Delivery, reason: str) -> None:
        copied = await reach(self._redis.xrange(keys.GROUPS, delivery.entry, delivery.entry))
        for _, fields in copied:
            dead = {b"g": fields[b"g"], b"reason": reason.encode()}
            await reach(self._redis.xadd(keys.GROUPS_DEAD, dead, maxlen=_DEAD_KEPT))
        await self.settle([delivery], DEAD)

    async def state(self) -> BufferState:
        pipe = self._redis.pipeline(transaction=True)
        pipe.xlen(keys.GROUPS).get(keys.GROUPS_BYTES).hgetall(keys.GROUPS_TOTALS)
        waiting, size, totals = await reach(pipe.execute())
        named = {name.decode(): int(count) for name, count in totals.items()}
        return BufferState(waiting, int(size or 0), named)

    async def close(self) -> None:
        await self._redis.aclose()

    async def _read(self, start: str, count: int, block: int | None) -> list[Any]:
        try:
            return await self._read_group(start, count, block)
        except NoConsumerGroup:
            await reach(self._redis.xgroup_create(keys.GROUPS, _CONSUMERS, id="0", mkstream=True))
            return await self._read_group(start, count, block)

    async def _read_group(self, start: str, count: int, block: int | None) -> list[Any]:
        reply = await reach(
            self._redis.xreadgroup(
                _CONSUMERS, _CONSUMERS, {keys.GROUPS: start}, count=count, block=block
            )
        )
        return list(reply[0][1]) if reply else []

    async def _attempts(self, entry: bytes) -> int:
        pending = await reach(self._redis.xpending_range(keys.GROUPS, _CONSUMERS, entry, entry, 1))
        return int(pending[0]["times_delivered"]) if pending else 1


def _delivery(entry: bytes, fields: dict[bytes, bytes], attempts: int) -> Delivery:
    data = fields[b"g"]
    try:
        group = unpack(data)
    except WireError:
        group = None
    return Delivery(entry.decode(), group, len(data), attempts)
