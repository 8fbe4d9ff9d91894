"""The bets behind a verdict, by hand and by simulation."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.promotion.sequential_test import Decision, SequentialTest


def fed(differences: list[float], margin: float = 0.05) -> SequentialTest:
    test = SequentialTest(margin)
    for difference in differences:
        test.add(difference)
    return test


def test_the_first_two_bets_by_hand() -> None:
    test = fed([0.5, -0.25])
    # Made-up start: 8 observations of mean 0.05 and variance 0.02, so the first stake would be
    # 0.05 / 0.0225 = 2.22, cut to 0.9 / 0.95. Then the mean is (0.4 + 0.55) / 9 = 0.105556 and the
    # mean square (0.18 + 0.3025) / 9 = 0.053611: stake 1.97, cut to the same.
    stake = 0.9 / 0.95
    wealth = math.log1p(stake * 0.55) + math.log1p(stake * -0.20)
    assert test.numbers()["evidence"] == pytest.approx(wealth / math.log(20))
    assert (test.mean, test.count) == (0.125, 2)


def test_no_difference_at_all_passes_after_sixty_odd_queries() -> None:
    assert fed([0.0] * 63).decision is Decision.UNDECIDED
    assert fed([0.0] * 66).decision is Decision.NOT_WORSE


def test_worse_on_every_query_is_seen_soon() -> None:
    assert fed([-0.5] * 20).decision is Decision.WORSE


def test_the_first_decision_holds() -> None:
    assert fed([0.5] * 30 + [-1.0] * 200).decision is Decision.NOT_WORSE


@pytest.mark.parametrize(
    ("mean", "wrong", "at_most"), [(-0.05, Decision.NOT_WORSE, 0.05), (0.0, Decision.WORSE, 0.02)]
)
def test_mistakes_are_as_rare_as_promised_though_one_looks_each_time(
    mean: float, wrong: Decision, at_most: float
) -> None:
    """At the edge of either claim, stopping as soon as it looks good: 1,000 trials each."""
    noise = random.Random(7)
    mistakes = sum(
        fed([mean + noise.choice((-0.3, 0.0, 0.0, 0.3)) for _ in range(300)]).decision is wrong
        for _ in range(1_000)
    )
    assert mistakes / 1_000 <= at_most + 3 * math.sqrt(at_most * (1 - at_most) / 1_000)


@given(st.lists(st.floats(-1, 1), max_size=60), st.floats(0.01, 0.5))
def test_wealth_stays_positive_whatever_comes(differences: list[float], margin: float) -> None:
    numbers = fed(differences, margin).numbers()
    assert all(math.isfinite(value) for value in numbers.values())


@pytest.mark.parametrize("value", [1.01, -2.0, math.nan])
def test_what_cannot_be_a_difference_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not in"):
        SequentialTest(0.05).add(value)
