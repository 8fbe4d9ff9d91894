"""Early decision: when a vote needs no more rollouts."""

from collections.abc import Sequence
from math import comb


def is_decided(
    votes: Sequence[int], outstanding: int, confidence: float = 1.0, unanimity: float = 0.0
) -> bool:
    """Whether the leading answer has won, with `votes` for each answer and `outstanding` to come.

    It has if the outstanding rollouts cannot even tie. With `confidence` below 1 also if the leader
    is the more common one of the first two with that probability (`lead_probability`).
    """
    first, second = sorted([*votes, 0, 0], reverse=True)[:2]
    if not first:
        return False
    if first - second > outstanding:
        return True
    return confidence < 1.0 and lead_probability(first, second, unanimity) >= confidence


def lead_probability(first: int, second: int, unanimity: float = 0.0) -> float:
    """P(p1 > p2) of two answers with these votes. A share `unanimity` of such questions has one
    answer only; of the others, every p1 is as likely.

    The Beta stopping criterion of Adaptive-Consistency (arXiv 2305.11860, section 3): the mass of
    Beta(first + 1, second + 1) above 1/2, which for whole numbers is a binomial tail. A spike at
    p1 = 1 beside that prior: votes without dissent have the likelihood 1 there, and the integral of
    p^first, 1 / (first + 1), elsewhere.
    """
    flips = first + second + 1
    leads = sum(comb(flips, heads) for heads in range(first + 1)) / 2**flips
    if second or not unanimity:
        return leads
    others = (1.0 - unanimity) / (first + 1)
    return (unanimity + others * leads) / (unanimity + others)


def unanimous_rollouts(confidence: float, unanimity: float) -> int:
    """The least number of rollouts, all of one answer, that decide a vote; `confidence` < 1."""
    rollouts = 1
    while lead_probability(rollouts, 0, unanimity) < confidence:
        rollouts += 1
    return rollouts


def is_likeliest(masses: Sequence[float], seen: float) -> bool:
    """Whether the leading answer is the policy's most probable one for certain.

    `masses` are the probabilities of the different rollouts drawn, added up for each answer, and
    `seen` for all of them, those without an answer too. What has not been drawn has the rest
    together: with less than the leader's lead, it cannot overtake it. One rollout that was more
    probable than all others together needs no second.
    """
    first, second = sorted([*masses, 0.0, 0.0], reverse=True)[:2]
    return first - second > max(0.0, 1.0 - seen)
