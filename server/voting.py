"""Counting rollouts without holding up the event loop."""

import asyncio
from collections.abc import Sequence

from rewards.ballot import Ballot, answers_of
from rewards.equality import Equality
from rewards.rollouts import Rollout

_INLINE_CHARS = 20_000
"""More text than this is read in a thread: about a millisecond's worth."""


async def ballot_of(equality: Equality, rollouts: Sequence[Rollout]) -> Ballot:
    """What rollouts answer. In a thread if that means much text, or mathematics."""
    if sum(len(rollout.text) for rollout in rollouts) > _INLINE_CHARS:
        return await asyncio.to_thread(lambda: equality.ballot(answers_of(rollouts)))
    answers = answers_of(rollouts)
    if equality.instant(answers):
        return equality.ballot(answers)
    return await asyncio.to_thread(equality.ballot, answers)
