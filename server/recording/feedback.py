"""Labels that arrive late, by completion id: for metrics and the gate, never for rewards
(invariant I10).

The answers behind a reply are remembered for a while, with the query, apart from the rollout buffer
and under keys that no learner reads; a label is kept with its query. All of it goes with its client
when that is forgotten.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Protocol

from adapter.store.buffer import BufferUnavailable
from rewards.answer_choice import MATH_OR_LAST_NUMBER, AnswerChoice
from rewards.answers.judging.time_budget import TimeBudget
from rewards.answers.kinds import AnswerKinds
from rewards.metrics import avg_at_n, correctness, maj_at_n, reward_accuracy
from server.mathematics import Mathematics
from server.metrics import ServerMetrics
from server.recording.reservoir import Query

log = logging.getLogger("ratchet.feedback")

_BATCH = 64
_QUEUE_CHARS = 8_000_000
"""Of the answers that wait to be stored."""
_OVERHEAD_CHARS = 500
_RETRY_SECONDS = 1.0
_MAX_LABEL_CHARS = 10_000
_PATIENCE = 1.0
"""Seconds for which who gives a label waits for the verdict."""
_LABELS, _LABELS_EACH = 512, 64
"""Labels that may wait to be compared, of all holders and of each."""


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

    @property
    def chars(self) -> int:
        """About how many characters it has in memory."""
        asked = 0 if self.query is None else self.query.bytes
        return _OVERHEAD_CHARS + asked + sum(len(answer or "") for answer in self.answers)

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


class TooManyLabels(Exception):
    """So many labels wait to be compared that no more are taken."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a label: whether it was `counted`, as the first on its answer is, and whether
    the answer given was right, None if that is not known yet."""

    counted: bool
    correct: bool | None = None


class Feedback:
    """One per server process. `run` until cancelled."""

    def __init__(self, store: FeedbackStore, kinds: AnswerKinds, metrics: ServerMetrics) -> None:
        self._store, self._kinds, self._metrics = store, kinds, metrics
        self._unstored: dict[str, Answered] = {}
        self._unstored_chars = 0
        self._arrived = asyncio.Event()
        self._mathematics = Mathematics(places=1)
        self._comparing: set[asyncio.Task[bool]] = set()
        self._labels_of: Counter[str] = Counter()

    @property
    def unstored(self) -> int:
        """Answers that are remembered here, but not stored yet."""
        return len(self._unstored)

    def remember(self, completion_id: str, answered: Answered) -> None:
        """Keep what a reply was voted from. It is stored later, without delaying the reply."""
        if self._unstored_chars + answered.chars <= _QUEUE_CHARS:
            self._unstored[completion_id] = answered
            self._unstored_chars += answered.chars
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
                except (TypeError, ValueError):
                    await self._remember_each(batch)
                finally:
                    for completion_id, _ in batch:
                        self._drop(completion_id)

    async def _remember_each(self, batch: Sequence[tuple[str, Answered]]) -> None:
        """Store those that can be written: no other is lost for one that cannot."""
        for one in batch:
            try:
                await self._store.remember([one])
            except (TypeError, ValueError, BufferUnavailable) as error:
                log.warning("no feedback can be given on an answer: %s", type(error).__name__)

    def forget(self, client: str) -> int:
        """Remove what is not stored yet of the client or holder with this pseudonym. Returns how
        many."""
        gone = [key for key, answered in self._unstored.items() if answered.is_of(client)]
        for key in gone:
            self._drop(key)
        return len(gone)

    def _drop(self, completion_id: str) -> None:
        if (answered := self._unstored.pop(completion_id, None)) is not None:
            self._unstored_chars -= answered.chars

    async def give(
        self,
        completion_id: str,
        label: str | None,
        correct: bool | None,
        holder: str | None = None,
    ) -> Judged:
        """Count a label, or a verdict on the answer given. With `holder`, a pseudonym, it must be a
        reply to that holder of a key. What takes longer than a moment goes on in the background.
        Raises UnknownCompletion, TooManyLabels, BufferUnavailable."""
        answered = self._unstored.get(completion_id) or await self._store.recall(completion_id)
        if answered is None or (holder is not None and answered.holder != holder):
            raise UnknownCompletion(completion_id)
        if len(self._comparing) >= _LABELS or self._labels_of[answered.holder] >= _LABELS_EACH:
            raise TooManyLabels
        if not await self._store.first(completion_id):
            return Judged(counted=False)
        truth = answered.given if label is None and correct else label
        if truth is None:
            self._count(label=0.0, maj=0.0)
            return Judged(counted=True, correct=False)
        await self._keep(answered, truth)
        comparing = self._begin(answered, truth)
        done, _ = await asyncio.wait([comparing], timeout=_PATIENCE)
        return Judged(counted=True, correct=comparing.result() if done else None)

    def close(self) -> None:
        """Compare no more labels."""
        self._mathematics.close()
        for task in self._comparing:
            task.cancel()

    def _begin(self, answered: Answered, truth: str) -> asyncio.Task[bool]:
        """Compare in turn, whether or not somebody waits for it."""
        whose, work = answered.holder, partial(self._compare, answered, truth)
        comparing = asyncio.create_task(self._mathematics.run(whose, TimeBudget(), work))
        self._comparing.add(comparing)
        self._labels_of[whose] += 1

        def over(task: asyncio.Task[bool]) -> None:
            self._comparing.discard(task)
            self._labels_of -= Counter([whose])
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("a label was not compared", exc_info=error)

        comparing.add_done_callback(over)
        return comparing

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
