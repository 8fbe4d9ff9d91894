"""When a vote is over."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.early_decision import is_decided, lead_probability


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
