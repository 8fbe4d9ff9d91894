"""Answer kinds: how an answer is read from a rollout, and when two are the same.

A group carries the name of its kind, so that vote, learner, gate and evaluation cannot disagree.
"""

from collections.abc import Sequence
from typing import Protocol

from rewards.answers.reading.loops import loops
from rewards.answers.tally import Tally
from rewards.rollouts import ENDED, Rollout


class AnswerKind(Protocol):
    """One kind of answer. Implementations are thread-safe; only `instant` and `read` never wait for
    a judge."""

    name: str

    def read(self, rollout: Rollout) -> str | None:
        """The answer a rollout votes for, as written; None if it has no vote."""
        ...

    def same(self, first: str, second: str) -> bool:
        """Whether two answers are the same. Any doubt is a no."""
        ...

    def closeness(self, first: str, second: str) -> float:
        """Similarity of two answers in [0, 1]; 1 for the same."""
        ...

    def tally(self, answers: Sequence[str | None]) -> Tally:
        """Cluster M answers; which of them share a cluster does not depend on their order."""
        ...

    def instant(self, answers: Sequence[str | None]) -> bool:
        """Whether `tally` returns without waiting."""
        ...


def may_vote(rollout: Rollout) -> bool:
    """Whether a rollout can have an answer: it ended by itself and does not loop."""
    return rollout.finish_reason in ENDED and not loops(rollout.text)


def answers_of(kind: AnswerKind, rollouts: Sequence[Rollout]) -> list[str | None]:
    """One answer (or None) per rollout, in order."""
    return [kind.read(rollout) for rollout in rollouts]


def cluster_of(kind: AnswerKind, tally: Tally, answer: str) -> int | None:
    """The cluster of a tally that equals an answer from elsewhere; None if none does."""
    return next((at for at, label in enumerate(tally.labels) if kind.same(label, answer)), None)
