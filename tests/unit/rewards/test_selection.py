"""Rollouts to learn from: those whose rewards vary most."""

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.selection import spread_most

REWARDS = st.lists(st.sampled_from([-1.0, 0.0, 0.1, 0.25, 0.5, 1.0]), min_size=1, max_size=9)


def test_half_of_each_where_there_are_enough() -> None:
    assert spread_most([1, 1, 1, 0, 0, 0], 4) == [1, 2, 3, 4]


def test_all_of_the_few_right_ones() -> None:
    assert 2 in spread_most([0, 0, 1, 0, 0, 0], 4)


def test_the_middle_is_left_out() -> None:
    assert spread_most([0.5, 1.0, 0.4, 0.0], 2) == [1, 3]


def test_everything_if_there_is_no_more() -> None:
    assert spread_most([1, 0], 2) == [0, 1]
    assert spread_most([], 2) == []


@given(REWARDS, st.integers(2, 9))
def test_no_other_choice_varies_more(rewards: list[float], count: int) -> None:
    chosen = spread_most(rewards, count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, len(rewards))
    most = max(statistics.pvariance(some) for some in itertools.combinations(rewards, len(chosen)))
    assert statistics.pvariance([rewards[row] for row in chosen]) == pytest.approx(most, abs=1e-9)
    assert (max(rewards) > min(rewards)) == (statistics.pvariance(rewards[r] for r in chosen) > 0)
