"""Candidate against reference on one query, by hand."""

import itertools

import pytest

from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.answers.math_answers import MathAnswers
from server.promotion.comparison import difference


def test_by_hand_without_label() -> None:
    # Reference 7 7 7 3. Others' majority: 7 for each of the first three (7 7 3), 7 for the last
    # (7 7 7): the reference scores 1 1 1 0, a candidate of 7 7 7 7 scores 1 1 1 1.
    assert difference(MathAnswers(), ["7"] * 4, ["7", "7", "7", "3"]) == 0.25
    assert difference(MathAnswers(), ["3"] * 4, ["7", "7", "7", "3"]) == -0.75


def test_by_hand_with_a_label() -> None:
    assert difference(MathAnswers(), ["3", "3"], ["7", "3"], "3.0") == 0.5
    assert difference(MathAnswers(), ["3", "3"], ["7", "3"], "12") == 0.0


def test_a_policy_against_itself_is_even_however_it_answers() -> None:
    for answers in itertools.product(["1", "2", None], repeat=4):
        assert difference(MathAnswers(), answers, answers) == 0.0


def test_equal_policies_have_equal_expectations() -> None:
    """All pairs of three rollouts from one distribution over {1, 2, none}, weighted."""
    share = {"1": 0.5, "2": 0.3, None: 0.2}
    mean = 0.0
    for rows in itertools.product(share, repeat=6):
        weight = 1.0
        for row in rows:
            weight *= share[row]
        mean += weight * difference(MathAnswers(), rows[:3], rows[3:])
    assert mean == pytest.approx(0.0, abs=1e-12)


def test_silence_never_scores() -> None:
    assert difference(MathAnswers(), [None, None], [None, None]) == 0.0
    assert difference(MathAnswers(), [None, None], ["1", "1"]) == -1.0
    assert difference(MathAnswers(), ["1", "1"], [None, None]) == 0.0


def test_unequal_numbers_of_rollouts_are_refused() -> None:
    with pytest.raises(ValueError, match="1 rollouts against 2"):
        difference(MathAnswers(), ["1"], ["1", "2"])


def test_prose_is_judged_by_how_close_it_comes() -> None:
    prose = AnswerKinds().of(AnswerChoice("text"))
    reference = ["a b c d", "a b c d", None]
    assert difference(prose, reference, reference) == 0.0
    # Each loses half to one other rollout; the third rollout, which is none, loses nothing to two.
    assert difference(prose, ["a b x y", "a b x y", None], reference) == pytest.approx(-0.25)
    assert difference(prose, ["a b x y", None, "a b c d"], ["a b c d", None, None]) == 0.5
    assert difference(prose, [None, None], [None, None]) == 0.0
