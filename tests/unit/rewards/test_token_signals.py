"""Entropy and certainty from top-k log-probabilities, against the full distribution."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.token_signals import (
    confidence,
    entropy_bounds,
    entropy_estimate,
    mean_over_tokens,
    self_certainty,
)


def log_softmax(logits: list[float]) -> list[float]:
    largest = max(logits)
    total = largest + math.log(sum(math.exp(x - largest) for x in logits))
    return sorted((x - total for x in logits), reverse=True)


def entropy(logprobs: list[float]) -> float:
    return -sum(math.exp(x) * x for x in logprobs)


PEAKED = log_softmax([2, 0, 0, 0])


def test_the_full_distribution_by_hand() -> None:
    assert entropy_bounds(PEAKED, 4) == pytest.approx((0.918284, 0.918284), abs=1e-6)
    assert entropy_estimate(PEAKED, 4) == pytest.approx(0.918284, abs=1e-6)
    # -ln 4 + (.340753 + 3 * 2.340753) / 4
    assert self_certainty(PEAKED, 4) == pytest.approx(0.454459, abs=1e-6)
    assert confidence(PEAKED[:2]) == pytest.approx(1.340753, abs=1e-6)


def test_bounds_from_the_best_token_alone() -> None:
    # p .711235: head .242361, the rest .288765 on one token, or on three
    low, high = entropy_bounds(PEAKED[:1], 4)
    assert (low, high) == pytest.approx((0.601043, 0.918284), abs=1e-6)
    assert low < entropy_estimate(PEAKED[:1], 4) < high
    assert self_certainty(PEAKED[:1], 4) == pytest.approx(0.454459, abs=1e-6)


def test_no_remaining_token_is_likelier_than_the_least_known() -> None:
    # two tokens of .1 known: the rest of .8 sits on eight more at least
    low, high = entropy_bounds([math.log(0.1)] * 2, 10)
    assert (low, high) == pytest.approx((math.log(10), math.log(10)))


def test_certainty_without_doubt() -> None:
    assert entropy_bounds([0.0], 1000) == (0.0, 0.0)
    assert self_certainty([0.0], 1) == 0.0
    assert self_certainty([0.0], 2) == pytest.approx(7.0 * math.log(10) / 2 - math.log(2))
    assert confidence([0.0]) == 0.0


def test_uniform_is_least_certain() -> None:
    assert self_certainty([math.log(1 / 8)] * 8, 8) == pytest.approx(0.0)
    assert entropy_bounds([math.log(1 / 8)] * 3, 8) == pytest.approx((math.log(8), math.log(8)))


@pytest.mark.parametrize(
    ("logprobs", "why"),
    [
        ([], "0 top"),
        ([-1.0] * 5, "5 top log-probabilities of a vocabulary of 4"),
        ([0.1], "at most 0"),
        ([-math.inf], "finite"),
        ([math.nan], "finite"),
        ([-0.1, -0.1], "sum to more than 1"),
    ],
)
def test_what_is_no_distribution_is_refused(logprobs, why) -> None:
    for signal in (entropy_bounds, self_certainty, entropy_estimate):
        with pytest.raises(ValueError, match=why):
            signal(logprobs, 4)


def test_confidence_needs_a_token() -> None:
    with pytest.raises(ValueError, match="no top"):
        confidence([])


def test_rounding_of_the_engine_is_forgiven() -> None:
    assert entropy_bounds([1e-7], 4) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert entropy_bounds([math.log(0.5), math.log(0.5005)], 2)[0] == pytest.approx(0.693, abs=1e-3)


def test_mean_over_tokens() -> None:
    assert mean_over_tokens(confidence, [[-1.0], [-2.0, -4.0]]) == 2.0
    assert mean_over_tokens(confidence, []) == 0.0


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=40), st.data())
def test_bounds_hold_for_any_distribution(logits, data) -> None:
    full = log_softmax(logits)
    k = data.draw(st.integers(1, len(full)))
    low, high = entropy_bounds(full[:k], len(full))
    assert low - 1e-9 <= entropy(full) <= high + 1e-9
    assert low <= entropy_estimate(full[:k], len(full)) <= high
    certain = -math.log(len(full)) - sum(full) / len(full)
    # a rest of 1e-7, the least there is, is known to nine digits: 1 - sum p rounds by 1e-16
    assert self_certainty(full[:k], len(full)) <= certain + 1e-8
