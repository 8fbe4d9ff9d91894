"""The seam of answer kinds: how an answer is read out of a rollout, and when two are the same.

A group carries the name of its kind, so that vote, learner, gate and evaluation cannot disagree.
"""

from collections.abc import Sequence
from typing import Protocol

from rewards.answers.tally import Tally
from rewards.rollouts import Rollout


class AnswerKind(Protocol):
    """One kind of answer. Implementations are thread-safe; all but `instant` and `read` may wait
    for a judge."""

    name: str

    def read(self, rollout: Rollout) -> str | None:
        """The answer that a rollout votes for, as written; None if it has no vote."""
        ...

    def same(self, first: str, second: str) -> bool:
        """Whether two answers are one answer. Any doubt is a no."""
        ...

    def closeness(self, first: str, second: str) -> float:
        """How near two answers are, in [0, 1]; 1 for the same."""
        ...

    def tally(self, answers: Sequence[str | None]) -> Tally:
        """Group M answers. Which of them share a cluster does not depend on their order."""
        ...

    def instant(self, answers: Sequence[str | None]) -> bool:
        """Whether `tally` will not have to wait."""
        ...


def answers_of(kind: AnswerKind, rollouts: Sequence[Rollout]) -> list[str | None]:
    """One answer (or None) per rollout, in order."""
    return [kind.read(rollout) for rollout in rollouts]


def cluster_of(kind: AnswerKind, tally: Tally, answer: str) -> int | None:
    """The cluster of a tally that equals an answer from outside; None if none does."""
    for cluster, rows in enumerate(tally.members):
        if kind.same(tally.answers[rows[0]] or "", answer):
            return cluster
    return None
