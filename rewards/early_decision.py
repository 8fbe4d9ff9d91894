"""Early decision: when a vote needs no more rollouts."""

from collections.abc import Sequence
from math import comb


def is_decided(votes: Sequence[int], outstanding: int, confidence: float = 1.0) -> bool:
    """Whether the leading answer has won, with `votes` for each answer and `outstanding` to come.

    It has if the outstanding rollouts cannot even tie. With `confidence` below 1 also if the leader
    is the more common one of the first two with that probability (`lead_probability`).
    """
    first, second = sorted([*votes, 0, 0], reverse=True)[:2]
    if not first:
        return False
    if first - second > outstanding:
        return True
    return confidence < 1.0 and lead_probability(first, second) >= confidence


def lead_probability(first: int, second: int) -> float:
    """P(p1 > p2) of two answers with these votes, under a uniform prior.

    The Beta stopping criterion of Adaptive-Consistency (arXiv 2305.11860, section 3): the mass of
    Beta(first + 1, second + 1) above 1/2, which for whole numbers is a binomial tail.
    """
    flips = first + second + 1
    return sum(comb(flips, heads) for heads in range(first + 1)) / 2**flips
