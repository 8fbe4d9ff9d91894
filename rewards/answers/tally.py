"""The tally of one group: each rollout's answer, and which answers are the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tally:
    """`answers` [M] as written, None where a rollout has no vote.

    `clusters` [M]: equal answers share a number, counted from 0 in order of first appearance.
    `members` lists the rollouts of each cluster. `canonical` [M] are forms for display; without
    them, answers are shown as written.
    """

    answers: Sequence[str | None]
    clusters: Sequence[int | None]
    canonical: Sequence[str | None] = ()
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

    def per_rollout(self, values: Sequence[float], missing: float = 0.0) -> list[float]:
        """One number per rollout [M] from one per cluster."""
        return [missing if cluster is None else values[cluster] for cluster in self.clusters]

    @property
    def labels(self) -> list[str]:
        """The first answer of each cluster, as written."""
        return [self.answers[rows[0]] or "" for rows in self.members]

    @property
    def forms(self) -> list[str]:
        """The canonical form of each cluster's first answer."""
        texts = self.canonical or self.answers
        return [texts[rows[0]] or "" for rows in self.members]


def first_of(tally: Tally, count: int) -> Tally:
    """The tally of the first `count` rollouts."""
    return Tally(tally.answers[:count], tally.clusters[:count], tally.canonical[:count])


def disagreement(tally: Tally) -> float:
    """The share of pairs of rollouts that have not the same answer; without an answer, nothing is
    the same. Its mean does not depend on their number: 1 - sum of p^2. 0 of one."""
    count = len(tally)
    same = sum(len(rows) * (len(rows) - 1) for rows in tally.members)
    return 1.0 - same / (count * (count - 1)) if count > 1 else 0.0


def tally_by(answers: Sequence[str | None], key: Callable[[str], str]) -> Tally:
    """The tally of M answers that are the same if their keys are equal."""
    numbers: dict[str, int] = {}
    keys = [None if answer is None else key(answer) for answer in answers]
    clusters = [None if each is None else numbers.setdefault(each, len(numbers)) for each in keys]
    return Tally(answers, clusters, keys)
