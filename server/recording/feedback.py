"""Labels that arrive late, by completion id: for metrics and the gate, never for rewards
(invariant I10).

The answers behind a reply are remembered for a while, with the query, apart from the rollout buffer
and under keys that no learner reads; a label is kept with its query. All of it goes with its client
when that is forgotten.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from adapter.store.buffer import BufferUnavailable
from rewards.answer_choice import MATH_OR_LAST_NUMBER, AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.metrics import avg_at_n, correctness, maj_at_n, reward_accuracy
from server.metrics import ServerMetrics
from server.recording.reservoir import Query

log = logging.getLogger("ratchet.feedback")

_BATCH = 64
_QUEUE = 4_096
_RETRY_SECONDS = 1.0
_MAX_LABEL_CHARS = 10_000


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers [M] that one reply was voted from, None where a rollout had none, which of them
    was `given` as the reply's, how they were read, and whose reply it is: the pseudonyms of client
    and holder. `query` is what was asked, unless that is too long to be kept."""

    answers: Sequence[str | None]
    given: str | None
    answer: AnswerChoice = MATH_OR_LAST_NUMBER
    client: str = ""
    holder: str = ""
    query: Query | None = None

    def is_of(self, client: str) -> bool:
        """Whether it is of the client or holder with this pseudonym."""
        return client in (self.client, self.holder)


class FeedbackStore(Protocol):
    """Remembers answers by completion id for a limited time. May raise BufferUnavailable."""

    async def remember(self, answered: Sequence[tuple[str, Answered]]) -> None:
        """Keep these, but those of who has opted out."""
        ...

    async def forget(self, client: str) -> int:
        """Remove what is kept of the client or holder with this pseudonym. Returns how many."""
        ...

    async def label(self, query: Query) -> None:
        """Keep a query with its label, the latest of its client, unless that has opted out; of too
        many, who has most gives way first."""
        ...

    async def labelled(self) -> list[Query]:
        """The queries with labels that are kept, the oldest first."""
        ...

    async def recall(self, completion_id: str) -> Answered | None:
        """What was kept, unless it is too old."""
        ...

    async def first(self, completion_id: str) -> bool:
        """Whether this is the first feedback on that completion; from now on it is not."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class UnknownCompletion(LookupError):
    """No voted answer is remembered under that id."""


class Feedback:
    """One per server process. `run` until cancelled."""

    def __init__(self, store: FeedbackStore, kinds: AnswerKinds, metrics: ServerMetrics) -> None:
        self._store, self._kinds, self._metrics = store, kinds, metrics
        self._unstored: dict[str, Answered] = {}
        self._arrived = asyncio.Event()

    @property
    def unstored(self) -> int:
        """Answers that are remembered here, but not stored yet."""
        return len(self._unstored)

    def remember(self, completion_id: str, answered: Answered) -> None:
        """Keep what a reply was voted from. It is stored later, without delaying the reply."""
        if len(self._unstored) < _QUEUE:
            self._unstored[completion_id] = answered
            self._arrived.set()

    async def run(self) -> None:
        """Store answers as they come, many at a time."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := list(islice(self._unstored.items(), _BATCH)):
                try:
                    await self._store.remember(batch)
                except BufferUnavailable as error:
                    log.warning("no feedback can be given on %d answers: %s", len(batch), error)
                    await asyncio.sleep(_RETRY_SECONDS)
                finally:
                    for completion_id, _ in batch:
                        self._unstored.pop(completion_id, None)

    def forget(self, client: str) -> int:
        """Remove what is not stored yet of the client or holder with this pseudonym. Returns how
        many."""
        gone = [key for key, answered in self._unstored.items() if answered.is_of(client)]
        for key in gone:
            del self._unstored[key]
        return len(gone)

    async def give(
        self,
        completion_id: str,
        label: str | None,
        correct: bool | None,
        holder: str | None = None,
    ) -> bool | None:
        """Count a label, or a verdict on the answer given: whether it was right, or None if this
        is not the first feedback on it. With `holder`, a pseudonym, it must be a reply to that
        holder of a key. Raises UnknownCompletion, BufferUnavailable."""
        answered = self._unstored.get(completion_id) or await self._store.recall(completion_id)
        if answered is None or (holder is not None and answered.holder != holder):
            raise UnknownCompletion(completion_id)
        if not await self._store.first(completion_id):
            return None
        truth = answered.given if label is None and correct else label
        if truth is not None:
            await self._keep(answered, truth)
            return await asyncio.to_thread(self._compare, answered, truth)
        self._count(label=0.0, maj=0.0)
        return False

    async def _keep(self, answered: Answered, truth: str) -> None:
        """Keep a label for the gate, if what was asked is known and the store is there."""
        if answered.query is None or not 0 < len(truth) <= _MAX_LABEL_CHARS:
            return
        try:
            await self._store.label(replace(answered.query, label=truth))
        except BufferUnavailable as error:
            log.warning("a label is not kept for the gate: %s", error)

    def _compare(self, answered: Answered, truth: str) -> bool:
        kind, given = self._kinds.of(answered.answer), answered.given
        tally = kind.tally(answered.answers)
        correct = correctness(kind, tally, truth)
        right = given is not None and kind.same(given, truth)
        self._count(
            label=float(right),
            maj=maj_at_n(tally, correct),
            avg=avg_at_n(correct),
            reward=reward_accuracy(kind, tally, given, correct),
        )
        return right

    def _count(self, **accuracies: float) -> None:
        for name, value in accuracies.items():
            self._metrics.accuracy[name].add(value)
        self._metrics.feedback.inc()
