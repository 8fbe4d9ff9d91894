"""The vote: which answer most rollouts gave, and which rollout represents it."""

from collections.abc import Mapping
from dataclasses import dataclass

from rewards.answers.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """The outcome over `total` rollouts, of which `valid` had an answer.

    `answer` is the winner as its first rollout wrote it, `winner` that rollout's index, `cluster`
    its cluster on the tally; all None when nobody answered. `counts` maps each cluster's first
    answer, in canonical form, to its votes, in order of appearance.
    """

    answer: str | None
    winner: int | None
    cluster: int | None
    valid: int
    total: int
    counts: Mapping[str, int]

    @property
    def agreement(self) -> float:
        """majority_ratio: votes for the winner over all rollouts, n(label) / M."""
        return max(self.counts.values()) / self.total if self.counts else 0.0

    @property
    def margin(self) -> float:
        """Lead of the winner over the runner-up, as a share of all rollouts."""
        first, second = sorted([*self.counts.values(), 0, 0], reverse=True)[:2]
        return (first - second) / max(1, self.total)


def take_vote(tally: Tally) -> Vote:
    """Majority vote. A tie goes to the answer seen first; a missing answer never votes.

    TTRL, arXiv 2504.16084, section 2.2; unlike its published code, equal forms share one vote and
    an empty majority cannot win.
    """
    members = tally.members
    if not members:
        return Vote(answer=None, winner=None, cluster=None, valid=0, total=len(tally), counts={})
    sizes = [len(rows) for rows in members]
    cluster = sizes.index(max(sizes))
    return Vote(
        answer=tally.labels[cluster],
        winner=members[cluster][0],
        cluster=cluster,
        valid=sum(sizes),
        total=len(tally),
        counts=dict(zip(tally.forms, sizes, strict=True)),
    )
