"""One query of a trial with the answers of all policies to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from server.promotion.decision.comparison import Clusters, labelled, pooled

CANDIDATE = "candidate"
"""The candidate's name among those of its references."""


@dataclass(frozen=True, slots=True)
class Asked:
    """`query` is an identifier for people to look up, `slices` the kinds of traffic it belongs to;
    rollouts are the numbers of their answers' clusters, of the candidate and, by name, of its
    references. `label` is the true answer's cluster, None where nobody knows it. `near` has the
    differences between two policies, by their names, that do not come from clusters (prose)."""

    query: str
    slices: Sequence[str]
    candidate: Clusters
    references: Mapping[str, Clusters]
    label: int | None = None
    near: Mapping[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])

    def difference(self, reference: str) -> float:
        """Candidate minus reference, by the label if there is one, else by the pooled consensus."""
        return self.between(CANDIDATE, reference)

    def between(self, first: str, second: str) -> float:
        """The first policy minus the second, in the same way."""
        if (first, second) in self.near:
            return self.near[first, second]
        ours, theirs = self.clusters_of(first), self.clusters_of(second)
        if self.label is None:
            return pooled(ours, theirs)
        return labelled(ours, theirs, self.label)

    def clusters_of(self, name: str) -> Clusters:
        """The rollouts of the candidate, or of a reference by its name."""
        return self.candidate if name == CANDIDATE else self.references[name]
