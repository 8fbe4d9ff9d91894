"""Intervals and tests against numbers from tables or worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.statistics import Interval, bootstrap, over_seeds, paired_gain, sign_flip_p

shares = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_over_seeds_uses_students_t() -> None:
    # mean 3, sd sqrt(2.5), n 5; t(0.975, 4) = 2.776445
    found = over_seeds([1, 2, 3, 4, 5])
    assert found.mean == 3
    assert found.high - found.mean == pytest.approx(2.776445 * (2.5 / 5) ** 0.5, rel=1e-6)


def test_over_seeds_wants_two() -> None:
    with pytest.raises(ValueError, match="at least two"):
        over_seeds([1.0])


def test_written_in_points_of_a_hundred() -> None:
    assert Interval(0.5, 0.25, 0.755).percent() == "50.0 (25.0..75.5)"
    assert Interval(0.5, -0.25, 0.75).percent(signed=True) == "+50.0 (-25.0..75.0)"


def test_bootstrap_of_a_coin() -> None:
    # 50 of 100 right: the standard error is 0.05, so about 0.40 to 0.60
    found = bootstrap([1.0] * 50 + [0.0] * 50)
    assert found.mean == 0.5
    assert found.low == pytest.approx(0.40, abs=0.015)
    assert found.high == pytest.approx(0.60, abs=0.015)


@given(shares)
def test_bootstrap_holds_the_mean(values: list[float]) -> None:
    found = bootstrap(values, resamples=200)
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9


def test_paired_gain_keeps_pairs_together() -> None:
    before = [0.1, 0.9, 0.5, 0.3]
    gain, (low, high) = paired_gain(before, [value + 0.05 for value in before])
    assert gain == pytest.approx(0.05)
    assert (low, high) == (pytest.approx(0.05), pytest.approx(0.05))


def test_sign_flips_of_few_questions_are_counted_out() -> None:
    # Of 2^5 sign patterns only two are as far from 0 as +1 five times.
    assert sign_flip_p([0] * 5, [1] * 5) == pytest.approx(2 / 32)
    assert sign_flip_p([0, 1], [1, 0]) == 1.0
    assert sign_flip_p([0.5] * 3, [0.5] * 3) == 1.0


def test_sign_flips_of_many_questions() -> None:
    assert sign_flip_p([0.0] * 100, [0.1] * 100) < 0.001
    mixed = [0.1 * (-1) ** index for index in range(100)]
    assert sign_flip_p([0.0] * 100, mixed) > 0.9
