"""The tally of one query while its rollouts come in, without blocking the event loop."""

import asyncio
from collections.abc import Sequence

from rewards.answers.kind import AnswerKind, answers_of
from rewards.answers.tally import Tally
from rewards.early_decision import is_decided
from rewards.votes import Vote, take_vote
from server.engine.base import Draw

_INLINE_CHARS = 20_000
"""More text than this is read in a thread: about a millisecond's worth."""


class RunningTally:
    """Rollouts in the order in which they finish, of `size` in all. With a `confidence` below 1 the
    vote is decided before it is certain (`is_decided`)."""

    def __init__(self, kind: AnswerKind, size: int, confidence: float = 1.0) -> None:
        self.kind, self.size, self._confidence = kind, size, confidence
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
        if sum(len(rollout.text) for rollout in rollouts) > _INLINE_CHARS:
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
        if self._confidence == 1.0 and len(self.draws) <= self.size // 2:
            return False
        members = (await self.current()).members
        return is_decided([len(rows) for rows in members], self.outstanding, self._confidence)

    async def current(self) -> Tally:
        """The tally of the rollouts so far; computed in a thread if it needs the judge."""
        while self._tally is None:
            answers = list(self._answers)
            if self.kind.instant(answers):
                tally = self.kind.tally(answers)
            else:
                tally = await asyncio.to_thread(self.kind.tally, answers)
            if len(answers) == len(self._answers):  # else more came in meanwhile
                self._tally = tally
        return self._tally

    async def vote(self) -> Vote:
        """The vote over the rollouts so far."""
        return take_vote(await self.current())
