"""The ballot of one group: what each rollout answers, and which of the answers are the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rewards.answers.extraction import extract_answer, loops
from rewards.rollouts import Rollout

FINISHED = "stop"
"""Only a rollout that ended by itself may vote; a truncated one never reached its answer."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """`answers` [M] as written, None where a rollout has no vote.

    `clusters` [M]: equal answers share a number, counted from 0 in order of first appearance.
    `members` lists the rollouts of each cluster.
    """

    answers: Sequence[str | None]
    clusters: Sequence[int | None]
    members: Sequence[Sequence[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        members: list[list[int]] = []
        for index, cluster in enumerate(self.clusters):
            if cluster is not None:
                if cluster == len(members):
                    members.append([])
                members[cluster].append(index)
        object.__setattr__(self, "members", members)

    def __len__(self) -> int:
        return len(self.answers)


def answer_of(rollout: Rollout) -> str | None:
    """The answer a rollout votes for: none if it was cut short or goes round in circles."""
    if rollout.finish_reason != FINISHED or loops(rollout.text):
        return None
    return extract_answer(rollout.text)


def answers_of(rollouts: Sequence[Rollout]) -> list[str | None]:
    """One answer (or None) per rollout, in order."""
    return [answer_of(rollout) for rollout in rollouts]
