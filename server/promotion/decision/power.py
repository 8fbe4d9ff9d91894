"""Whether the gate's settings can decide anything, which is asked before they are used."""

import math
from statistics import NormalDist

from server.promotion.decision.sequential_test import needed

_LEAST = 0.3
"""Smallest chance of an equal candidate to pass that is put up with."""
_MOST_QUERIES = 1 << 20


class GateCannotDecide(ValueError):
    """The gate would turn away nearly all candidates; the message names the settings."""


def power(margin: float, queries: int, rollouts: int) -> float:
    """The chance that a candidate equal to its reference passes the last look, where rollouts share
    no noise and are right half the time: the hardest traffic."""
    variance = 0.5 / rollouts
    true = math.sqrt(variance / queries)
    seen = math.sqrt((queries * variance + 2) / (queries + 2) / (queries + 2))
    return NormalDist().cdf((margin - needed(1.0) * seen) / true)


def check_decides(margin: float, queries: int, rollouts: int) -> None:
    """Raises GateCannotDecide if an equal candidate would hardly ever pass."""
    chance = power(margin, queries, rollouts)
    if chance >= _LEAST:
        return
    enough = queries
    while power(margin, enough, rollouts) < 0.5 and enough < _MOST_QUERIES:
        enough += max(1, enough // 16)
    raise GateCannotDecide(
        f"gate_queries {queries} with gate_rollouts {rollouts} cannot prove gate_margin {margin:g}"
        f": a candidate as good as its parent would pass {100 * chance:.0f} times in 100. "
        f"Set gate_queries to {enough} or more, or raise gate_rollouts or gate_margin"
    )
