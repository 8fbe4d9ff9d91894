"""Outcomes of questions, flips and signs of a collapse, by hand."""

import pytest

from evals.question_outcomes import (
    CollapseWatch,
    Outcome,
    Vitals,
    flip_rate,
    outcomes,
    shares,
    vitals,
)
from rewards.answers.math_answers import MathAnswers
from tests.unit.rewards.tallies import tally

KIND = MathAnswers()


def test_what_became_of_each_question() -> None:
    before = {"a": False, "b": True, "c": True, "d": False, "e": True}
    after = {"e": True, "a": True, "b": True, "c": False, "d": False}
    found = outcomes(before, after)
    assert found == {
        "a": Outcome.LEARNT, "b": Outcome.KEPT, "c": Outcome.CORRUPTED, "d": Outcome.NEVER,
        "e": Outcome.KEPT,
    }  # fmt: skip
    assert shares(found) == {"learnt": 0.2, "kept": 0.4, "corrupted": 0.2, "never": 0.2}
    assert set(shares({}).values()) == {0.0}
    with pytest.raises(ValueError, match="2 questions were asked only once, 'a' for one"):
        outcomes({"a": True, "c": True}, {"b": True, "c": True})


def test_a_flip_is_another_majority_by_the_one_equality() -> None:
    before = [tally(each) for each in (["1/2", "3"], ["4"], [None], ["5", "5", "6"], ["7"])]
    after = [tally(each) for each in (["0.5"], ["5"], ["1"], ["6", "6", "5"], [None])]
    # equal, flipped, nothing before, flipped, nothing after
    assert flip_rate(before, after, KIND) == pytest.approx(2 / 3)
    assert flip_rate([], [], KIND) is None
    with pytest.raises(ValueError, match="zip"):
        flip_rate(before, after[:1], KIND)


def test_vitals() -> None:
    groups = [tally(["1", "1", "2", None]), tally(["1.0", "3", "1", "1"]), tally(["4"] * 4)]
    groups.append(tally([None] * 4))
    found = vitals(groups, [[2] * 4, [4] * 4, [6] * 4, [8] * 4], KIND)
    # majorities 1, 1.0, 4 and none: one of three is alone
    assert found == Vitals(
        agreement=pytest.approx((0.5 + 0.75 + 1 + 0) / 4), variety=pytest.approx(1 / 3),
        tokens=5.0, answered=11 / 16,
    )  # fmt: skip
    assert vitals([tally([None])], [[3]], KIND) == Vitals(0.0, 0.0, 3.0, 0.0)


WELL = Vitals(agreement=0.5, variety=1.0, tokens=20.0, answered=1.0)


@pytest.mark.parametrize(
    ("last", "signs"),
    [
        (WELL, []),
        (Vitals(0.9, 1.0, 20.0, 1.0), []),
        (Vitals(0.9, 0.71, 20.0, 1.0), []),
        (Vitals(0.9, 0.7, 20.0, 1.0), ["one answer for all"]),
        (Vitals(0.4, 0.1, 20.0, 1.0), []),
        (Vitals(0.5, 1.0, 10.0, 1.0), ["short"]),
        (Vitals(0.5, 1.0, 10.1, 0.8), []),
        (Vitals(0.5, 1.0, 40.0, 1.0), ["long"]),
        (Vitals(0.5, 1.0, 20.0, 0.79), ["silent"]),
        (Vitals(1.0, 0.0, 2.0, 0.5), ["one answer for all", "short", "silent"]),
    ],
)
def test_signs_of_a_collapse(last: Vitals, signs: list[str]) -> None:
    assert CollapseWatch().signs(WELL, last) == signs


def test_no_variety_cannot_become_less() -> None:
    none = Vitals(0.5, 0.0, 20.0, 1.0)
    assert CollapseWatch().signs(none, Vitals(0.6, 0.0, 20.0, 1.0)) == []


def test_the_watch_can_be_stricter() -> None:
    strict = CollapseWatch(variety=0.9, short=0.9, long=1.1, answered=1.0)
    assert strict.signs(WELL, Vitals(0.6, 0.9, 18.0, 0.99)) == [
        "one answer for all", "short", "silent",
    ]  # fmt: skip
    assert strict.signs(WELL, Vitals(0.6, 1.0, 22.0, 1.0)) == ["long"]
