"""When a vote is over."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.early_decision import (
    is_decided,
    is_likeliest,
    lead_probability,
    unanimous_rollouts,
)


@pytest.mark.parametrize(
    ("votes", "outstanding", "decided"),
    [
        ([], 0, False),
        ([], 3, False),
        ([5], 4, True),
        ([4], 4, False),  # all of them could agree on something else: a draw
        ([5, 2], 2, True),
        ([5, 2], 3, False),
        ([3, 3], 0, False),
        ([1, 7, 2], 4, True),
    ],
)
def test_certainty(votes: list[int], outstanding: int, decided: bool) -> None:
    assert is_decided(votes, outstanding) is decided


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 4))
def test_a_decided_vote_stays_whatever_comes(votes: list[int], outstanding: int) -> None:
    leader = votes.index(max(votes))
    overtaken = any(
        max(counts) == counts[other]
        for end in product(range(len(votes) + 1), repeat=outstanding)
        for counts in [[v + end.count(i) for i, v in enumerate([*votes, 0])]]
        for other in range(len(counts))
        if other != leader
    )
    assert is_decided(votes, outstanding) is not overtaken


@pytest.mark.parametrize(
    ("first", "second", "probability"),
    [(0, 0, 0.5), (1, 0, 0.75), (4, 0, 31 / 32), (1, 1, 0.5), (2, 1, 11 / 16)],
)
def test_the_beta_criterion_by_hand(first: int, second: int, probability: float) -> None:
    assert lead_probability(first, second) == probability


def test_confidence_ends_a_vote_sooner() -> None:
    assert is_decided([4], 12, confidence=0.95)
    assert not is_decided([4], 12, confidence=0.97)
    assert not is_decided([4], 12)


@pytest.mark.parametrize(
    ("first", "second", "unanimity", "probability"),
    [
        (1, 0, 0.0, 3 / 4),
        (1, 0, 0.5, 11 / 12),  # (1/2 + 1/4 * 3/4) / (1/2 + 1/4)
        (2, 0, 0.5, 31 / 32),  # (1/2 + 1/6 * 7/8) / (1/2 + 1/6)
        (1, 0, 1.0, 1.0),
        (2, 1, 0.9, 11 / 16),  # who disagrees is not unanimous
    ],
)
def test_what_is_known_of_such_questions_counts(
    first: int, second: int, unanimity: float, probability: float
) -> None:
    assert lead_probability(first, second, unanimity) == pytest.approx(probability)


@given(st.integers(1, 12), st.floats(0, 1), st.floats(0, 1))
def test_more_trust_and_more_votes_decide_sooner(votes: int, less: float, more: float) -> None:
    less, more = sorted((less, more))
    assert lead_probability(votes, 0, less) <= lead_probability(votes, 0, more) + 1e-12
    assert lead_probability(votes, 0, less) <= lead_probability(votes + 1, 0, less) + 1e-12


@pytest.mark.parametrize(
    ("confidence", "unanimity", "rollouts"),
    [(0.75, 0.0, 1), (0.95, 0.0, 4), (0.99, 0.0, 6), (0.9, 0.5, 1), (0.99, 0.95, 1)],
)
def test_rollouts_without_dissent_that_are_enough(
    confidence: float, unanimity: float, rollouts: int
) -> None:
    assert unanimous_rollouts(confidence, unanimity) == rollouts


@pytest.mark.parametrize(
    ("masses", "seen", "likeliest"),
    [
        ([], 0.0, False),
        ([0.51], 0.51, True),  # more probable than all others together
        ([0.5], 0.5, False),
        ([0.4, 0.1], 0.5, False),
        ([0.4, 0.1], 0.8, True),  # rollouts without an answer have the other 0.3
        ([0.3, 0.45], 0.75, False),
        ([0.1, 0.6], 0.7, True),
    ],
)
def test_probabilities_that_settle_it(masses: list[float], seen: float, likeliest: bool) -> None:
    assert is_likeliest(masses, seen) is likeliest


@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=6), st.data())
def test_the_likeliest_answer_is_the_likeliest(weights: list[float], data: st.DataObject) -> None:
    """Of a policy over a few rollouts, each with an answer, some of which have been drawn."""
    policy = [weight / sum(weights) for weight in weights]
    answers = data.draw(st.lists(st.integers(0, 2), min_size=len(policy), max_size=len(policy)))
    drawn = data.draw(st.sets(st.sampled_from(range(len(policy)))))
    masses = [sum(policy[i] for i in drawn if answers[i] == a) for a in range(3)]
    whole = [sum(p for p, answer in zip(policy, answers, strict=True) if answer == a)
             for a in range(3)]  # fmt: skip
    if is_likeliest(masses, sum(policy[i] for i in drawn)):
        assert whole[masses.index(max(masses))] == pytest.approx(max(whole))
