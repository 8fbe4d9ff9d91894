"""One query of a trial with the answers of all policies to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from server.promotion.decision.comparison import Clusters, labelled, pooled


@dataclass(frozen=True, slots=True)
class Asked:
    """`query` is an identifier for people to look up, `slices` the kinds of traffic it belongs to;
    rollouts are the numbers of their answers' clusters, of the candidate and, by name, of its
    references. `label` is the true answer's cluster, None where nobody knows it."""

    query: str
    slices: Sequence[str]
    candidate: Clusters
    references: Mapping[str, Clusters]
    label: int | None = None

    def difference(self, reference: str) -> float:
        """Candidate minus reference, by the label if there is one, else by the pooled consensus."""
        return self._difference(self.candidate, self.references[reference])

    def between(self, first: str, second: str) -> float:
        """The first reference minus the second, in the same way."""
        return self._difference(self.references[first], self.references[second])

    def _difference(self, ours: Clusters, theirs: Clusters) -> float:
        if self.label is None:
            return pooled(ours, theirs)
        return labelled(ours, theirs, self.label)
