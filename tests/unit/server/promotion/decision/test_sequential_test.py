"""The proofs behind a verdict, by hand and by simulation."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.promotion.decision.schedule import planned_looks
from server.promotion.decision.sequential_test import (
    Moments,
    Proof,
    SequentialTest,
    needed,
)

LOOKS = planned_looks(192)


def fed(differences: list[float], margin: float = 0.05) -> SequentialTest:
    test = SequentialTest(margin)
    for difference in differences:
        test.add(difference)
        if test.count in LOOKS:
            test.look(test.count / 192)
    return test


def test_mean_and_error_by_hand() -> None:
    moments = Moments()
    for value in (0.5, -0.25):
        moments.add(value)
    # With 1 and -1 added: 4 values, sum 0.25, squares 0.3125 + 2; variance 0.578125 - 0.0625^2.
    assert moments.mean == 0.125
    assert moments.error == pytest.approx(math.sqrt((2.3125 / 4 - 0.0625**2) / 4))


def test_the_first_two_bets_by_hand() -> None:
    # Against "no worse", on -0.5 and 0.25: made-up start of 8 observations of mean 0.05 and
    # variance 0.02, so the first stake would be 0.05 / 0.0225 = 2.22, cut to 0.9. Then the mean is
    # (0.4 - 0.5) / 9 < 0, and nothing is staked.
    test = fed([0.5, -0.25])
    assert test.numbers()["evidence_worse"] == pytest.approx(math.log1p(-0.45) / math.log(100))


def test_bounds_narrow_towards_the_last_look() -> None:
    assert needed(1.0) == 1.83
    assert needed(1 / 32) == pytest.approx(1.83 * 2**1.5)


def test_a_clear_gain_passes_early() -> None:
    # At 24: mean .2, error sqrt((24 x .04 + 2) / 26 - (4.8 / 26)^2) / sqrt(26) = .055; .25 / .055.
    assert fed([0.2] * 24).proof is Proof.NOT_WORSE
    assert fed([0.2] * 23).proof is Proof.UNDECIDED
    assert fed([0.1] * 31).proof is Proof.UNDECIDED
    assert fed([0.1] * 32).proof is Proof.NOT_WORSE


def test_no_difference_at_all_passes_at_eighty() -> None:
    assert fed([0.0] * 79).proof is Proof.UNDECIDED
    assert fed([0.0] * 80).proof is Proof.NOT_WORSE


def test_a_pass_is_given_at_planned_looks_only() -> None:
    early = [-0.5] * 5 + [0.0] * 75  # too little at 80, enough at 143
    assert fed(early + [0.0] * 63).proof is Proof.UNDECIDED
    assert fed(early + [0.0] * 63).sure > needed(143 / 192)
    assert fed(early + [0.0] * 64).proof is Proof.NOT_WORSE


def test_worse_on_every_query_is_seen_soon() -> None:
    assert fed([-0.5] * 20).proof is Proof.WORSE


def test_the_first_proof_holds() -> None:
    assert fed([0.5] * 24 + [-1.0] * 168).proof is Proof.NOT_WORSE


@pytest.mark.parametrize(
    ("mean", "wrong", "at_most"), [(-0.05, Proof.NOT_WORSE, 0.05), (0.0, Proof.WORSE, 0.01)]
)
def test_mistakes_are_as_rare_as_promised_though_one_looks_each_time(
    mean: float, wrong: Proof, at_most: float
) -> None:
    """At the edge of either claim, stopping as soon as it looks good: 2,000 trials each."""
    noise = random.Random(7)
    mistakes = sum(
        fed([mean + noise.choice((-0.3, 0.0, 0.0, 0.3)) for _ in range(192)]).proof is wrong
        for _ in range(2_000)
    )
    assert mistakes / 2_000 <= at_most + 3 * math.sqrt(at_most * (1 - at_most) / 2_000)


@given(st.lists(st.floats(-1, 1), max_size=60), st.floats(0.01, 0.5))
def test_evidence_is_finite_whatever_comes(differences: list[float], margin: float) -> None:
    test = fed(differences, margin)
    test.look(1.0)
    numbers = test.numbers()
    assert all(math.isfinite(value) for value in numbers.values())


@pytest.mark.parametrize("value", [1.01, -2.0, math.nan])
def test_what_cannot_be_a_difference_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not in"):
        SequentialTest(0.05).add(value)
