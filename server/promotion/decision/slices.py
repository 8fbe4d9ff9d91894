"""Parts of the traffic, each of which must hold: gains elsewhere do not pay for a loss in one."""

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

from server.promotion.decision.asked import Asked
from server.promotion.decision.comparison import Clusters, by_reference, novelty
from server.promotion.decision.sequential_test import Moments

ENOUGH, _SUSPECT = 8, 2
"""Queries of a slice below which nothing is proven of it, and below which nothing is suspected."""
_ALPHA = 0.01
"""Chance that any slice of a candidate that is no worse is found worse, at the last look; at
earlier ones in proportion to what was asked."""
_LEAST_LOSS = 0.1
"""Smaller losses of a slice are left to the tests over all queries."""
_SUSPECT_LOSS = 0.3
"""Such a loss of a small slice delays a pass until more of it was seen."""
_LEFT, _LEFT_PROVEN = 0.4, 0.1
"""A slice is overturned if by the reference's own consensus it loses `_LEFT`, and is proven to lose
`_LEFT_PROVEN`: damage rather than learning changes whole slices of confident answers."""


class Yardstick(StrEnum):
    """What a slice is compared by: labels or the pooled consensus, the share of rollouts that
    answer, or the reference's own consensus."""

    SCORE = "score"
    ANSWERED = "answered"
    OVERTURNED = "overturned"


@dataclass(frozen=True, slots=True)
class SliceFinding:
    """A slice that is worse than under a reference, and by what."""

    name: str
    reference: str
    by: Yardstick
    moments: Moments


class Slices:
    """The differences of a trial by slice and reference."""

    def __init__(self) -> None:
        self._labelled: dict[tuple[str, str], Moments] = defaultdict(Moments)
        self._unlabelled: dict[tuple[str, str], Moments] = defaultdict(Moments)
        self._own: dict[tuple[str, str], Moments] = defaultdict(Moments)
        self._answered: dict[tuple[str, str], Moments] = defaultdict(Moments)
        self._novel: dict[str, Moments] = defaultdict(Moments)

    def add(self, asked: Asked, reference: str, difference: float) -> None:
        """Add a query's difference from a reference, and how far it leaves its consensus."""
        known = self._unlabelled if asked.label is None else self._labelled
        known[reference, ""].add(difference)
        own = None
        if asked.label is None:
            own = by_reference(asked.candidate, asked.references[reference])
            self._own[reference, ""].add(own)
            self._novel[reference].add(novelty(asked.candidate, asked.references[reference]))
        answering = _share(asked.candidate) - _share(asked.references[reference])
        for name in ("", *asked.slices):
            self._answered[reference, name].add(answering)
        for name in asked.slices:
            known[reference, name].add(difference)
            if own is not None:
                self._own[reference, name].add(own)

    def overturned(self, reference: str) -> Moments:
        """How far the candidate leaves the reference's own consensus over all queries."""
        return self._own[reference, ""]

    def novel(self, reference: str) -> Moments:
        """How often, and how surely, the candidate agrees on what the reference does not have."""
        return self._novel[reference]

    def found(self, share: float = 1.0) -> SliceFinding | None:
        """The slice that is proven worse by most, if any is, after this share of all queries."""
        found: list[SliceFinding] = []
        tests = self._at_least(ENOUGH)
        wide = NormalDist().inv_cdf(1 - _ALPHA * share / max(1, len(tests)))
        for key, moments, by in tests:
            overturned = by is Yardstick.OVERTURNED
            least, proven = (_LEFT, _LEFT_PROVEN) if overturned else (_LEAST_LOSS, 0.0)
            lost = moments.mean <= -least and moments.mean + wide * moments.error < -proven
            if lost and not (overturned and self._defended(key)):
                found.append(SliceFinding(key[1], key[0], by, moments))
        return min(found, key=lambda one: one.moments.mean, default=None)

    def suspect(self) -> bool:
        """Whether a slice looks much worse, though too little of it was seen."""
        return any(
            moments.mean <= -(_LEFT if by is Yardstick.OVERTURNED else _SUSPECT_LOSS)
            and not (by is Yardstick.OVERTURNED and self._defended(key))
            for key, moments, by in self._at_least(_SUSPECT)
        )

    def numbers(self) -> dict[str, float]:
        """The lowest mean difference of any slice with enough queries, and how many have enough."""
        means = [m.mean for _, m, by in self._at_least(ENOUGH) if by is Yardstick.SCORE]
        return {"lowest": min(means), "compared": float(len(means))} if means else {}

    def _at_least(self, queries: int) -> list[tuple[tuple[str, str], Moments, Yardstick]]:
        """The slices with so many queries that are not all of them, by reference and name, and what
        they are compared by."""
        yardsticks = (
            (self._labelled, Yardstick.SCORE),
            (self._unlabelled, Yardstick.SCORE),
            (self._answered, Yardstick.ANSWERED),
            (self._own, Yardstick.OVERTURNED),
        )
        return [
            (key, moments, by)
            for kept, by in yardsticks
            for key, moments in kept.items()
            if key[1] and queries <= moments.count < kept[key[0], ""].count
        ]

    def _defended(self, key: tuple[str, str]) -> bool:
        """Whether labels say that a slice is no worse: they know better than a consensus."""
        known = self._labelled.get(key)
        return known is not None and known.count >= ENOUGH and known.mean > -_LEAST_LOSS


def _share(clusters: Clusters) -> float:
    """Share of the rollouts that have an answer."""
    return sum(cluster is not None for cluster in clusters) / len(clusters)
