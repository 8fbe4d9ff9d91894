"""Questions: right answers, balanced levels, no repetition, the same list every time."""

from collections import Counter

import pytest

from evals.arithmetic.questions import (
    FAMILIES,
    SHAPES,
    carries,
    question,
    questions,
    stream_and_held_out,
)


def test_a_question_knows_its_answer() -> None:
    asked = question(478, 356, 2, "addition")
    assert (asked.id, asked.text, asked.answer) == (
        "addition-2-478+356",
        "What is 478+356?",
        "834",
    )
    assert question(412, 398, 2, "subtraction").answer == "14"


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_distinct_and_levels_balanced(family: str) -> None:
    drawn = questions(0, 1003, family=family)
    assert len({item.text for item in drawn}) == 1003
    assert Counter(item.level for item in drawn) == {1: 201, 2: 201, 3: 201, 4: 200, 5: 200}


def test_carries_are_counted_as_on_paper() -> None:
    assert carries(478, 356, "addition") == 2
    assert carries(95, 17, "addition") == 2
    assert carries(123, 456, "addition") == 0
    assert carries(412, 398, "subtraction") == 2
    assert carries(1000, 1, "subtraction") == 3


def test_a_level_sets_digits_and_carries() -> None:
    for item in questions(1, 200):
        left, right = map(int, item.text.removeprefix("What is ").removesuffix("?").split("+"))
        digits, fewest, most = SHAPES[item.level]
        assert len(str(left)) == len(str(right)) == digits
        assert fewest <= carries(left, right, "addition") <= most
        assert left + right == int(item.answer)


def test_subtraction_never_goes_below_one() -> None:
    assert all(
        int(item.answer) > 0 for item in questions(2, 500, family="subtraction", levels=(1,))
    )


def test_the_seed_decides() -> None:
    assert questions(3, 50) == questions(3, 50)
    assert questions(3, 50) != questions(4, 50)


def test_excluded_texts_do_not_come_back() -> None:
    first = questions(5, 2000, levels=(1,))
    second = questions(6, 2000, levels=(1,), exclude={item.text for item in first})
    assert not {item.text for item in first} & {item.text for item in second}


def test_stream_and_held_out_are_disjoint_and_held_out_does_not_move() -> None:
    stream, held_out = stream_and_held_out(0, 1600, 300)
    longer, same = stream_and_held_out(0, 3200, 300)
    assert (len(stream), len(held_out), len(longer)) == (1600, 300, 3200)
    assert same == held_out
    assert not {item.text for item in stream} & {item.text for item in held_out}


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="family must be one of addition, subtraction"):
        questions(0, 1, family="division")
    with pytest.raises(ValueError, match="levels must be some of"):
        questions(0, 1, levels=(6,))
    with pytest.raises(ValueError, match="too few questions"):
        questions(0, 4006, family="subtraction", levels=(1,))
