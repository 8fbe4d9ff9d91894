"""When a trial looks at what was answered, and which queries it has asked by then."""

import math
from dataclasses import dataclass

STEP = 8
"""Queries between two looks that can turn a candidate away."""
FEWEST = 24
"""Queries before any pass: fewer have not two of a slice that is a tenth of the traffic."""
LOOKS = (1 / 8, 1 / 6, 1 / 4, 1 / 3, 5 / 12, 3 / 4, 1.0)
"""The looks that can pass a candidate, as shares of the most queries."""
EARLY = 5 / 12
"""Before this share of all queries only what is clear passes."""
_LABELS = 24
"""Labelled queries between two looks, while there are any."""


@dataclass(frozen=True, slots=True)
class Window:
    """The recent queries, and the labelled ones, that are asked between two looks."""

    queries: range
    labels: range


def planned_looks(queries: int) -> tuple[int, ...]:
    """The numbers of queries after which a test of at most `queries` may pass: LOOKS, rounded up
    to whole steps, from FEWEST on."""
    looks = (max(FEWEST, STEP * math.ceil(share * queries / STEP)) for share in LOOKS)
    return tuple(sorted({min(queries, look) for look in looks}))


def windows(queries: int, labels: int) -> list[Window]:
    """All windows of a trial. Every labelled query is in by the first look that can pass."""
    first = planned_looks(queries)[0]
    rounds = min(first, max(math.ceil(first / STEP), math.ceil(labels / _LABELS)))
    found = [Window(_part(first, at, rounds), _part(labels, at, rounds)) for at in range(rounds)]
    rest = range(first, queries, STEP)
    return found + [Window(range(at, min(at + STEP, queries)), range(0)) for at in rest]


def _part(count: int, at: int, of: int) -> range:
    """The part number `at` of so many nearly equal ones of range(count)."""
    return range(count * at // of, count * (at + 1) // of)
