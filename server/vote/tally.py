"""The tally of one query while its rollouts come in, without blocking the event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from rewards.answers.kind import AnswerKind, answers_of
from rewards.answers.structured.agreement import Fields
from rewards.answers.tally import Tally
from rewards.consensus import FIELDED, fields_in, kind_of, shares_by_field
from rewards.early_decision import is_decided
from rewards.rollouts import Rollout
from rewards.votes import Vote, take_vote
from server.engine.base import Draw
from server.policy.support import Support

T = TypeVar("T")

_MAX_FIELDS = 256
_INLINE_CHARS = 20_000
"""More text than this is read in a thread: about a millisecond's worth."""


Judging: TypeAlias = Callable[[Callable[[], T]], Awaitable[T]]
"""Runs what may take mathematics, aside of the event loop."""


class RunningTally:
    """Rollouts in the order in which they finish, of `size` in all. With a `confidence` below 1 the
    vote is decided before it is certain (`is_decided`), but never without `support`. What may take
    mathematics is done by `judging`."""

    def __init__(
        self,
        kind: AnswerKind,
        size: int,
        confidence: float = 1.0,
        support: Support = Support(),  # noqa: B008 - it is frozen
        *,
        judging: Judging[Any] = asyncio.to_thread,
    ) -> None:
        self.kind, self.size, self._confidence = kind, size, confidence
        self.support, self.judging = support, judging
        self.draws: list[Draw] = []
        self._answers: list[str | None] = []
        self._tally: Tally | None = None

    @property
    def outstanding(self) -> int:
        """Rollouts still to come."""
        return self.size - len(self.draws)

    async def add(self, batch: Sequence[Draw]) -> None:
        """Add some that have finished."""
        rollouts = [draw.rollout for draw in batch]
        if sum(map(_chars, rollouts)) > _INLINE_CHARS:
            answers = await asyncio.to_thread(answers_of, self.kind, rollouts)
        else:
            answers = answers_of(self.kind, rollouts)
        self.draws += batch
        self._answers += answers
        self._tally = None

    async def decided(self) -> bool:
        """Whether the vote is over: all rollouts are in, or enough of them."""
        if self.outstanding <= 0:
            return True
        if self.kind.name == "text":  # every text may be the closest to the others
            return False
        if self._confidence == 1.0 and len(self.draws) <= self.size // 2:
            return False
        votes = [len(rows) for rows in (await self.current()).members]
        total = self.size if self._confidence == 1.0 else len(self.draws)
        if max(votes, default=0) < self.support.needed(total):
            return False
        return is_decided(votes, self.outstanding, self._confidence)

    async def current(self) -> Tally:
        """The tally of the rollouts so far; computed in a thread if it needs the judge."""
        while self._tally is None:
            answers = list(self._answers)
            if self.kind.instant(answers):
                tally = self.kind.tally(answers)
            else:
                tally = await self.judging(partial(self.kind.tally, answers))
            if len(answers) == len(self._answers):  # else more came in meanwhile
                self._tally = tally
        return self._tally

    async def vote(self) -> Vote:
        """The vote over the rollouts so far."""
        return take_vote(await self.current())

    async def fields(self, tally: Tally) -> Sequence[Fields | None] | None:
        """The fields of each rollout's answer; None where the leading one has none."""
        if kind_of(self.kind, take_vote(tally).answer) not in FIELDED:
            return None
        return await asyncio.to_thread(fields_in, self.kind, tally)

    async def distribution(self, tally: Tally) -> Mapping[str, float]:
        """Each answer's share of the rollouts; of answers with fields, by field, the share that has
        the leading value, of many those that are least agreed on. Nothing for prose."""
        if self.kind.name == "text":
            return {}
        if (fields := await self.fields(tally)) is None:
            counts = take_vote(tally).counts
            return {answer: count / len(tally) for answer, count in counts.items()}
        shares = shares_by_field(fields)
        if len(shares) > _MAX_FIELDS:
            least = sorted(shares, key=lambda path: shares[path])[:_MAX_FIELDS]
            shares = {path: shares[path] for path in least}
        return shares


def _chars(rollout: Rollout) -> int:
    return len(rollout.text) + sum(len(call.arguments) for call in rollout.calls)
