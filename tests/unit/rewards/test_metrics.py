import pytest

from rewards.answers.math_answers import MathAnswers
from rewards.metrics import (
    avg_at_n,
    correctness,
    label_accuracy,
    maj_at_n,
    pass_at_k,
    point_biserial,
    reward_accuracy,
    rollout_correlation,
)
from tests.unit.rewards.tallies import tally

EQUALITY = MathAnswers()


def test_correctness_by_hand() -> None:
    votes = tally(["5", "5.0", "6", None])
    correct = correctness(EQUALITY, votes, "5")
    assert correct == [True, True, False, False]
    assert avg_at_n(correct) == 0.5
    assert maj_at_n(votes, correct) == 1.0
    assert maj_at_n(votes, correctness(EQUALITY, votes, "6")) == 0.0
    assert correctness(EQUALITY, votes, "7") == [False] * 4
    assert avg_at_n([]) == 0.0
    assert maj_at_n(tally([None]), [False]) == 0.0


@pytest.mark.parametrize(
    ("correct", "k", "expected"),
    [
        ([1, 1, 0, 0], 1, 0.5),
        ([1, 1, 0, 0], 2, 5 / 6),  # 1 - C(2,2)/C(4,2)
        ([1, 0, 0, 0, 0], 3, 0.6),  # 1 - C(4,3)/C(5,3)
        ([1, 0, 0], 3, 1.0),
        ([0, 0, 0], 3, 0.0),
        ([1, 1, 1, 0], 2, 1.0),
    ],
)
def test_pass_at_k_without_bias(correct, k, expected) -> None:
    assert pass_at_k([bool(c) for c in correct], k) == pytest.approx(expected)


@pytest.mark.parametrize("k", [0, 3])
def test_pass_at_k_needs_k_rollouts(k: int) -> None:
    with pytest.raises(ValueError, match=r"k must lie in 1\.\.2"):
        pass_at_k([True, False], k)


def test_label_accuracy() -> None:
    assert label_accuracy(EQUALITY, "0.5", "1/2") == 1.0
    assert label_accuracy(EQUALITY, "2", "1/2") == 0.0
    assert label_accuracy(EQUALITY, None, "1/2") == 0.0


def test_lucky_hit_a_wrong_label_still_gives_right_rewards() -> None:
    # truth 9; label 1 is wrong, yet only its own three rollouts are rewarded wrongly
    votes = tally(["1", "1", "1", "2", "3", "4", "5", None])
    nothing_right = correctness(EQUALITY, votes, "9")
    assert reward_accuracy(EQUALITY, votes, "1", nothing_right) == 5 / 8
    assert reward_accuracy(EQUALITY, votes, None, nothing_right) == 1.0
    right = correctness(EQUALITY, votes, "2")
    assert reward_accuracy(EQUALITY, votes, "1", right) == 4 / 8
    assert reward_accuracy(EQUALITY, votes, "2", right) == 1.0
    assert reward_accuracy(EQUALITY, tally([]), None, []) == 0.0


def test_point_biserial_by_hand() -> None:
    assert point_biserial([1, 0, 1, 0], [True, False, False, True]) == 0.0
    # deviations .2667 -.3333 .0667 and 1/3 -2/3 1/3
    assert point_biserial([0.8, 0.2, 0.6], [True, False, True]) == pytest.approx(0.944911)
    assert point_biserial([1, 0], [True, False]) == pytest.approx(1.0)
    assert point_biserial([1, 1], [True, False]) == 0.0
    assert point_biserial([1, 0], [True, True]) == 0.0
    assert point_biserial([1], [True]) == 0.0


def test_lengths_must_match() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        point_biserial([1, 0, 1], [True, False])
    with pytest.raises(ValueError, match="argument 2"):
        reward_accuracy(EQUALITY, tally(["1"]), "1", [True, False])


def test_rollout_correlation_by_hand() -> None:
    assert rollout_correlation([[1, 2, 3], [2, 3, 4]]) == 0.5
    assert rollout_correlation([[1, 1, 2], [1, 2, 2]]) == 0.5
    assert rollout_correlation([[1, 1, 1], [1, 1, 2, 3]]) == 0.4
    assert rollout_correlation([[1], [1], [2]]) == pytest.approx(1 / 3)
    assert rollout_correlation([[5, 6], [5, 6]]) == 1.0
    assert rollout_correlation([[], []]) == 1.0
    assert rollout_correlation([[], [1]]) == 0.0
    assert rollout_correlation([[1]]) == 0.0
