"""What is served of a vote: its winner, or the rollout closest to all others.

The medoid is minimum Bayes risk over the rollouts (arXiv 2211.07634): where no answer has enough
support, no other choice is better on average.
"""

import asyncio
from collections.abc import Sequence

from rewards.answers.kind import may_vote
from rewards.answers.medoid import text_medoid
from rewards.answers.reading.reasoning import said_by
from rewards.answers.tally import Tally
from rewards.consensus import closeness_by_field, kind_of
from rewards.rollouts import Rollout
from rewards.votes import Vote
from server.api.replies import Served
from server.policy.reasons import Unrecorded
from server.vote.tally import RunningTally


async def served_of(running: RunningTally, tally: Tally, vote: Vote) -> Served:
    """What to serve of the rollouts counted on `tally`, at least one. Texts are compared in a
    thread."""
    kind, distribution = kind_of(running.kind, vote.answer), await running.distribution(tally)
    rollouts = [draw.rollout for draw in running.draws[: len(tally)]]
    winner, cluster = vote.winner, vote.cluster
    wins = kind != "text" and running.wins(tally)
    if wins and winner is not None and cluster is not None:
        row = winner
        if kind == "tool_calls" and not rollouts[row].calls:  # they agree to call nothing
            row = await asyncio.to_thread(_closest, rollouts, tally.members[cluster])
        return Served(row=row, answer=vote.answer, kind=kind, distribution=distribution)
    reason = Unrecorded.NO_CONSENSUS if vote.answer is not None else Unrecorded.NO_ANSWER
    if kind == "text":
        reason = Unrecorded.MEDOID
    if reason is Unrecorded.NO_CONSENSUS and (fields := await running.fields(tally)) is not None:
        near = closeness_by_field(fields)
        row = near.index(max(near))
    else:
        able = [at for at, rollout in enumerate(rollouts) if may_vote(rollout)]
        row = await asyncio.to_thread(_closest, rollouts, able or range(len(rollouts)))
    return Served(row=row, answer=None, kind=kind, distribution=distribution, reason=reason)


def _closest(rollouts: Sequence[Rollout], rows: Sequence[int]) -> int:
    """The one of these rows that is closest on average to the others."""
    if len(rows) < 3:
        return rows[0]
    return rows[text_medoid([said_by(rollouts[row]) for row in rows])]
