"""The tally of one query while its rollouts come in, without blocking the event loop."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

from rewards.answers.kind import AnswerKind, answers_of
from rewards.answers.structured.agreement import Fields
from rewards.answers.tally import Tally
from rewards.consensus import FIELDED, fields_in, kind_of, shares_by_field
from rewards.early_decision import is_decided, is_likeliest, lead_probability
from rewards.rollouts import Rollout
from rewards.votes import Vote, take_vote
from server.engine.base import Draw
from server.policy.support import Support

T = TypeVar("T")

_MAX_FIELDS = 256
_LEAST = -12.0
"""Log-probability of a rollout that is counted among those that may settle a vote."""
_INLINE_CHARS = 20_000
"""More text than this is read in a thread: about a millisecond's worth."""


Judging: TypeAlias = Callable[[Callable[[], T]], Awaitable[T]]
"""Runs what may take mathematics, aside of the event loop."""


@dataclass(frozen=True, slots=True)
class _Weight:
    """A rollout's probability, and its tokens, by which it is known when it comes again."""

    tokens: Sequence[int]
    mass: float

    @staticmethod
    def of(rollout: Rollout) -> "_Weight | None":
        """None if it has none: it was not scored, or not with numbers, or is too unlikely to
        matter, as nearly all long ones are."""
        total = sum(rollout.logprobs)
        scored = rollout.token_ids and len(rollout.logprobs) == len(rollout.token_ids)
        if not scored or not _LEAST <= total <= 0.0:
            return None
        return _Weight(tuple(rollout.token_ids), math.exp(total))


class RunningTally:
    """Rollouts in the order in which they finish, of `size` in all. With a `confidence` below 1 the
    vote is decided before it is certain (rewards/early_decision.py), where `unanimity` is the share
    of such questions that have one answer only; by votes that disagree, never without `support`.
    Where rollouts are `weighed`, by their log-probabilities too. What may take mathematics is done
    by `judging`."""

    def __init__(
        self,
        kind: AnswerKind,
        size: int,
        confidence: float = 1.0,
        support: Support = Support(),  # noqa: B008 - it is frozen
        *,
        unanimity: float = 0.0,
        weighed: bool = False,
        judging: Judging[Any] = asyncio.to_thread,
    ) -> None:
        self.kind, self.size, self._confidence = kind, size, confidence
        self._unanimity, self._weighed = unanimity, weighed and confidence < 1.0
        self._weights: list[_Weight | None] = []
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
        if sum(map(_chars, rollouts)) > _INLINE_CHARS or self.kind.name == "pattern":
            answers = await asyncio.to_thread(answers_of, self.kind, rollouts)
        else:
            answers = answers_of(self.kind, rollouts)
        self.draws += batch
        self._answers += answers
        if self._weighed:
            self._weights += map(_Weight.of, rollouts)
        self._tally = None

    async def decided(self, *, whole: bool = True) -> bool:
        """Whether the vote is over: all rollouts are in, or enough of them. Short rollouts are in
        first, and may not say the same as long ones: while a wave is not in as a `whole`, only what
        the rest cannot change decides."""
        if self.outstanding <= 0:
            return True
        if self.kind.name == "text":  # every text may be the closest to the others
            return False
        if self._confidence == 1.0 and len(self.draws) <= self.size // 2:
            return False
        exact = self._confidence == 1.0 or not whole
        return self._is_enough(await self.current(), len(self.draws), exact=exact)

    def wins(self, tally: Tally) -> bool:
        """Whether the leading answer of these rollouts has enough of them behind it."""
        return self.support.holds(take_vote(tally)) or self._is_sure(tally, len(tally))

    def needed(self, tally: Tally) -> int:
        """The least number of these rollouts, in their order, that would have decided the vote."""
        counts = range(1, len(tally))
        return next((count for count in counts if self._is_enough(tally, count)), len(tally))

    def _is_enough(self, tally: Tally, count: int, *, exact: bool = False) -> bool:
        """Whether the first `count` rollouts of a tally decide the vote; `exact`: for certain."""
        if self._is_sure(tally, count, exact=exact):
            return True
        votes = _votes(tally, count)
        if max(votes, default=0) < self.support.needed(self.size if exact else count):
            return False
        confidence = 1.0 if exact else self._confidence
        unanimity = self._unanimity if sum(votes) == count else 0.0
        return is_decided(votes, self.size - count, confidence, unanimity)

    def _is_sure(self, tally: Tally, count: int, *, exact: bool = False) -> bool:
        """Whether the first `count` rollouts decide it however few they are: by what is known of
        such questions, or by their own probabilities, where the votes do not speak for another."""
        if self._confidence == 1.0:
            return False
        votes = _votes(tally, count)
        known = self._unanimity and not exact and votes == [count]
        if known and lead_probability(count, 0, self._unanimity) >= self._confidence:
            return True
        masses, seen = self._masses(tally, count)
        if not votes or not is_likeliest(masses, seen):
            return False
        return masses.index(max(masses)) == votes.index(max(votes))

    def _masses(self, tally: Tally, count: int) -> tuple[list[float], float]:
        """The probabilities of the different rollouts among the first `count`, added up for each
        answer and for all."""
        masses, seen, known = [0.0] * len(tally.members), 0.0, set[Sequence[int]]()
        for weight, cluster in zip(self._weights[:count], tally.clusters, strict=False):
            if weight is None or weight.tokens in known:
                continue
            known.add(weight.tokens)
            seen += weight.mass
            if cluster is not None:
                masses[cluster] += weight.mass
        return masses, seen

    async def current(self) -> Tally:
        """The tally of the rollouts so far; computed in a thread if it needs the judge, or if the
        answers are long."""
        while self._tally is None:
            answers = list(self._answers)
            short = sum(len(answer or "") for answer in answers) <= _INLINE_CHARS
            if short and self.kind.instant(answers):
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


def _votes(tally: Tally, count: int) -> list[int]:
    """The votes of each answer among the first `count` rollouts."""
    votes = [sum(row < count for row in rows) for rows in tally.members]
    return [each for each in votes if each]


def _chars(rollout: Rollout) -> int:
    return len(rollout.text) + sum(len(call.arguments) for call in rollout.calls)
