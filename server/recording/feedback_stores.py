"""Where answers wait for feedback: in memory, or in Redis."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import orjson

from adapter.store.redis.connection import connect, reach
from rewards.answer_choice import AnswerChoice
from server.recording.feedback import Answered, FeedbackStore

# Apart from every key that the learner reads (adapter/store/redis/connection.py).
_ANSWERED = "ratchet-feedback:answered:"
_JUDGED = "ratchet-feedback:judged:"
_MEMORY_LIMIT = 10_000


class MemoryFeedback:
    """In the memory of one process: the last 10,000 answers."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answered: OrderedDict[str, tuple[float, Answered]] = OrderedDict()
        self._judged: set[str] = set()

    async def remember(self, answered: Sequence[tuple[str, Answered]]) -> None:
        for key, value in answered:
            self._answered[key] = time.monotonic(), value
        while len(self._answered) > _MEMORY_LIMIT:
            self._judged.discard(self._answered.popitem(last=False)[0])

    async def recall(self, completion_id: str) -> Answered | None:
        at, answered = self._answered.get(completion_id, (0.0, None))
        return answered if time.monotonic() - at <= self._seconds else None

    async def first(self, completion_id: str) -> bool:
        known = completion_id in self._judged
        self._judged.add(completion_id)
        return not known

    async def close(self) -> None:
        return None


class RedisFeedback:
    """Shared by any number of servers."""

    def __init__(self, url: str, seconds: float) -> None:
        self._redis: Any = connect(url)
        self._milliseconds = max(1, int(seconds * 1000))

    async def remember(self, answered: Sequence[tuple[str, Answered]]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in answered:
            pipeline.set(_ANSWERED + key, _packed(value), px=self._milliseconds)
        await reach(pipeline.execute())

    async def recall(self, completion_id: str) -> Answered | None:
        data: bytes | None = await reach(self._redis.get(_ANSWERED + completion_id))
        return None if data is None else _unpacked(data)

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
        }
    )


def _unpacked(data: bytes) -> Answered:
    """What was kept, by a server of before choices too: its answers were all of `math`."""
    kept: dict[str, Any] = orjson.loads(data)
    if "answer" not in kept:
        return Answered(kept["answers"], kept["given"])
    return Answered(kept["answers"], kept["given"], AnswerChoice.from_json(kept["answer"]))


def open_feedback(url: str, seconds: float) -> FeedbackStore:
    """The store at `redis_url`, which keeps answers for `seconds`."""
    return MemoryFeedback(seconds) if url.startswith("memory:") else RedisFeedback(url, seconds)
