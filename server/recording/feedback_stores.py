"""Where answers wait for feedback, and labels for the gate: in memory, or in Redis."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import orjson

from adapter.store.redis.connection import OPTED_OUT, connect, reach
from rewards.answer_choice import AnswerChoice
from server.recording.feedback import Answered, FeedbackStore
from server.recording.labels import (
    MOST_LABELS,
    dispensable,
    is_key_of,
    label_key,
    packed_query,
    readable_query,
    unpacked_query,
)
from server.recording.reservoir import Query

# Apart from every key that the learner reads (adapter/store/redis/connection.py), in their slot.
_ANSWERED = "{ratchet}-feedback:answered:"
_JUDGED = "{ratchet}-feedback:judged:"
_LABELS = "{ratchet}-feedback:labels"
_LABELLED_AT = "{ratchet}-feedback:labelled_at"
_MEMORY_CHARS = 16_000_000
"""Of the answers that are kept in memory."""
_SCANNED = 500
"""Keys looked at in one go."""

_REMEMBER = """
for i = 3, #ARGV do
  if redis.call('SISMEMBER', KEYS[2], ARGV[i]) == 1 then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_LABEL = """
for i = 5, #ARGV do
  if redis.call('SISMEMBER', KEYS[3], ARGV[i]) == 1 then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return redis.call('HLEN', KEYS[1])
"""


class MemoryFeedback:
    """In the memory of one process: the last of them, some ten thousand of usual length."""

    def __init__(self, seconds: float, retention: float) -> None:
        self._seconds, self._retention = seconds, retention
        self._labels: OrderedDict[str, tuple[float, Query]] = OrderedDict()
        self._answered: OrderedDict[str, tuple[float, Answered]] = OrderedDict()
        self._judged: set[str] = set()
        self._chars = 0

    async def remember(self, answered: Sequence[tuple[str, Answered]]) -> None:
        for key, value in answered:
            self._drop(key)
            self._answered[key] = time.monotonic(), value
            self._chars += value.chars
        while self._chars > _MEMORY_CHARS:
            self._drop(next(iter(self._answered)))

    async def forget(self, client: str) -> int:
        gone = [key for key, (_, answered) in self._answered.items() if answered.is_of(client)]
        for key in gone:
            self._drop(key)
        labels = [key for key in self._labels if is_key_of(key, client)]
        for key in labels:
            del self._labels[key]
        return len(gone) + len(labels)

    async def label(self, query: Query) -> None:
        key = label_key(query)
        self._labels[key] = time.monotonic(), query
        self._labels.move_to_end(key)
        if len(self._labels) > MOST_LABELS:
            del self._labels[dispensable(list(self._labels))]

    async def labelled(self) -> list[Query]:
        old = time.monotonic() - self._retention
        while self._labels and next(iter(self._labels.values()))[0] < old:
            self._labels.popitem(last=False)
        return [query for _, query in self._labels.values()]

    async def recall(self, completion_id: str) -> Answered | None:
        at, answered = self._answered.get(completion_id, (0.0, None))
        return answered if time.monotonic() - at <= self._seconds else None

    def _drop(self, key: str) -> None:
        if (kept := self._answered.pop(key, None)) is not None:
            self._chars -= kept[1].chars
            self._judged.discard(key)

    async def first(self, completion_id: str) -> bool:
        known = completion_id in self._judged
        self._judged.add(completion_id)
        return not known

    async def close(self) -> None:
        return None


class RedisFeedback:
    """Shared by any number of servers."""

    def __init__(self, url: str, seconds: float, retention: float) -> None:
        self._redis: Any = connect(url)
        self._milliseconds = max(1, int(seconds * 1000))
        self._retention = retention

    async def remember(self, answered: Sequence[tuple[str, Answered]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in answered:
            whose = value.client, value.holder
            names = _ANSWERED + key, OPTED_OUT
            pipeline.eval(_REMEMBER, 2, *names, _packed(value), self._milliseconds, *whose)
        await reach(pipeline.execute())

    async def forget(self, client: str) -> int:
        gone, cursor = 0, 0
        while True:
            found = self._redis.scan(cursor, match=_glob(_ANSWERED), count=_SCANNED)
            cursor, names = await reach(found)
            values: list[bytes | None] = await reach(self._redis.mget(names)) if names else []
            held = [(name, data) for name, data in zip(names, values, strict=True) if data]
            theirs = [name for name, data in held if _is_of(data, client)]
            if theirs:
                judged = [name.replace(_ANSWERED.encode(), _JUDGED.encode()) for name in theirs]
                await reach(self._redis.delete(*theirs, *judged))
            gone += len(theirs)
            if not cursor:
                break
        labels = [key for key in await self._label_keys() if is_key_of(key, client)]
        await self._drop_labels(labels)
        return gone + len(labels)

    async def label(self, query: Query) -> None:
        key, data, at = label_key(query), orjson.dumps(packed_query(query)), time.time()
        names, milliseconds = (
            (_LABELS, _LABELLED_AT, OPTED_OUT),
            max(1, int(self._retention * 1000)),
        )
        given = key, data, at, milliseconds, query.client, query.holder
        kept = await reach(self._redis.eval(_LABEL, len(names), *names, *given))
        if kept > MOST_LABELS:
            await self._drop_labels([dispensable(await self._label_keys())])

    async def labelled(self) -> list[Query]:
        old = self._redis.zrangebyscore(_LABELLED_AT, "-inf", time.time() - self._retention)
        await self._drop_labels(_names(await reach(old)))
        keys = await self._label_keys()
        found: list[bytes | None] = await reach(self._redis.hmget(_LABELS, keys)) if keys else []
        return [query for data in found if (query := readable_query(data)) is not None]

    async def _label_keys(self) -> list[str]:
        """The keys of labels, the oldest first."""
        return _names(await reach(self._redis.zrange(_LABELLED_AT, 0, -1)))

    async def _drop_labels(self, keys: Sequence[str]) -> None:
        if keys:
            await reach(self._redis.hdel(_LABELS, *keys))
            await reach(self._redis.zrem(_LABELLED_AT, *keys))

    async def recall(self, completion_id: str) -> Answered | None:
        data: bytes | None = await reach(self._redis.get(_ANSWERED + completion_id))
        return None if data is None else _readable(data)

    async def first(self, completion_id: str) -> bool:
        key = _JUDGED + completion_id
        return bool(await reach(self._redis.set(key, b"", px=self._milliseconds, nx=True)))

    async def close(self) -> None:
        await self._redis.aclose()


def _packed(answered: Answered) -> bytes:
    return orjson.dumps(
        {
            "answers": answered.answers,
            "given": answered.given,
            "answer": answered.answer.to_json(),
            "client": answered.client,
            "holder": answered.holder,
            "query": None if answered.query is None else packed_query(answered.query),
        }
    )


def _unpacked(data: bytes) -> Answered:
    kept: dict[str, Any] = orjson.loads(data)
    kept["answer"] = AnswerChoice.from_json(kept["answer"])
    if kept.get("query") is not None:
        kept["query"] = unpacked_query(kept["query"])
    return Answered(**kept)


def _readable(data: bytes) -> Answered | None:
    """The inverse of `_packed`; None for what somebody else has written, or a later release."""
    try:
        return _unpacked(data)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _is_of(data: bytes, client: str) -> bool:
    """Whether an entry is of the client or holder with this pseudonym, or may be."""
    answered = _readable(data)
    return client.encode() in data if answered is None else answered.is_of(client)


def _names(keys: Sequence[bytes]) -> list[str]:
    return [key.decode() for key in keys]


def _glob(prefix: str) -> str:
    """The pattern of all keys with that prefix."""
    return prefix.replace("{", "[{]").replace("}", "[}]") + "*"


def open_feedback(url: str, seconds: float, retention: float) -> FeedbackStore:
    """The store at `redis_url`, which keeps answers for `seconds`, and labels for `retention`
    seconds."""
    if url.startswith("memory:"):
        return MemoryFeedback(seconds, retention)
    return RedisFeedback(url, seconds, retention)
