"""How a candidate's answers have changed: whether its questions still move, and where labels know,
which way."""

from collections import Counter

from server.promotion.decision.asked import CANDIDATE, Asked
from server.promotion.decision.comparison import Clusters


class Changes:
    """Counts over the queries of a trial. A query is `flipped` if the candidate's leading answer is
    not its parent's; `learnt` if by its label the candidate's is right and base's is wrong, and
    `corrupted` the other way round. `majority` is the mean share of the candidate's leading
    answer."""

    def __init__(self, parent: str, base: str) -> None:
        self._parent, self._base = parent, base
        self._unlabelled, self._labelled = 0, 0
        self._flipped, self._learnt, self._corrupted = 0, 0, 0
        self._shares = 0.0

    def add(self, asked: Asked) -> None:
        """Add a query that all policies have answered."""
        ours, share = _leader(asked.clusters_of(CANDIDATE))
        if asked.label is None:
            self._unlabelled += 1
            self._shares += share
            self._flipped += ours != _leader(asked.clusters_of(self._parent))[0]
            return
        self._labelled += 1
        now, before = (
            leader == asked.label for leader in (ours, _leader(asked.clusters_of(self._base))[0])
        )
        self._learnt += now and not before
        self._corrupted += before and not now

    def numbers(self) -> dict[str, float]:
        """What is known, by name."""
        found: dict[str, float] = {}
        if self._unlabelled:
            found["flipped"] = self._flipped / self._unlabelled
            found["majority"] = self._shares / self._unlabelled
        if self._labelled:
            found["learnt"] = float(self._learnt)
            found["corrupted"] = float(self._corrupted)
        return found


def _leader(clusters: Clusters) -> tuple[int | None, float]:
    """The leading answer, of several the first, and its share of all rollouts."""
    votes = Counter(cluster for cluster in clusters if cluster is not None)
    if not votes:
        return None, 0.0
    most = max(votes.values())
    return min(cluster for cluster, count in votes.items() if count == most), most / len(clusters)
