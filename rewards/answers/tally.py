"""The tally of one group: what each rollout answers, and which of the answers are the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tally:
    """`answers` [M] as written, None where a rollout has no vote.

    `clusters` [M]: equal answers share a number, counted from 0 in order of first appearance.
    `members` lists the rollouts of each cluster, `forms` the canonical form of its first answer:
    as written, unless the answer kind gives one.
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

    @property
    def forms(self) -> list[str]:
        """The canonical form of each cluster's first answer."""
        texts = self.canonical or self.answers
        return [texts[rows[0]] or "" for rows in self.members]
