"""Worked steps: hand-made sums, and the habits of the weak reasoner."""

import math
import random

import pytest

from evals.arithmetic.corpus import CAREFUL, WEAK, Habits, Lesson, example, guessed, worked

FORGETFUL = Habits(log_odds=math.inf, shaken=0.0)


def steps(left: int, right: int, family: str, habits: Habits) -> str:
    return worked(left, right, family, habits=habits, rng=random.Random(0))


@pytest.mark.parametrize(
    ("left", "right", "reply"),
    [
        (478, 356, "4 carry 3 carry 8 \\boxed{834}"),
        (123, 456, "9 7 5 \\boxed{579}"),
        (95, 17, "2 carry 1 carry 1 \\boxed{112}"),
        (50, 50, "0 0 carry 1 \\boxed{100}"),
    ],
)
def test_careful_addition(left: int, right: int, reply: str) -> None:
    assert steps(left, right, "addition", CAREFUL) == reply


@pytest.mark.parametrize(
    ("left", "right", "reply"),
    [
        (412, 398, "4 borrow 1 borrow 0 \\boxed{14}"),
        (87, 35, "2 5 \\boxed{52}"),
        (4000, 999, "1 borrow 0 borrow 0 borrow 3 \\boxed{3001}"),
    ],
)
def test_careful_subtraction(left: int, right: int, reply: str) -> None:
    assert steps(left, right, "subtraction", CAREFUL) == reply


def test_a_forgotten_carry_is_lost() -> None:
    assert steps(478, 356, "addition", FORGETFUL) == "4 2 7 \\boxed{724}"
    assert steps(95, 17, "addition", FORGETFUL) == "2 0 \\boxed{2}"
    assert steps(412, 398, "subtraction", FORGETFUL) == "4 2 1 \\boxed{124}"


def test_odds_add_up() -> None:
    habits = Habits(log_odds=-1.0, per_column=0.5, hidden=2.0, subtraction=1.0)
    # 1 / (1 + e) and 1 / (1 + 1 / e^2)
    assert habits.chance_to_forget(0, 4, "addition") == pytest.approx(0.268941, abs=1e-6)
    assert habits.chance_to_forget(2, 0, "addition") == pytest.approx(0.880797, abs=1e-6)
    assert habits.chance_to_forget(0, 4, "subtraction") == pytest.approx(0.5)
    assert habits.chance_to_forget(0, 9, "subtraction") == pytest.approx(0.880797, abs=1e-6)


def test_forgetting_is_as_frequent_as_its_chance() -> None:
    rng = random.Random(0)
    # 8+6: one carry out of column 0, digit 4; nothing else can be forgotten in 18+16.
    forgotten = sum(
        "carry" not in worked(18, 16, "addition", habits=WEAK, rng=rng) for _ in range(4000)
    )
    assert forgotten / 4000 == pytest.approx(WEAK.chance_to_forget(0, 4, "addition"), abs=0.02)


def test_only_the_shaken_get_digits_wrong() -> None:
    habits = Habits(log_odds=math.inf, shaken=1.0)
    replies = {
        worked(18, 16, "addition", habits=habits, rng=random.Random(seed)) for seed in range(20)
    }
    assert replies == {"4 1 \\boxed{14}", "4 3 \\boxed{34}"}
    assert steps(12, 13, "addition", habits) == "5 2 \\boxed{25}"


def test_guesses_have_the_form_of_a_reply() -> None:
    reply = guessed(478, 356, "addition", random.Random(1))
    digits = [piece for piece in reply.split() if piece.isdigit()]
    assert len(digits) == 3
    assert reply.endswith(f"\\boxed{{{int(''.join(reversed(digits)))}}}")


def test_examples_follow_the_lesson() -> None:
    rng = random.Random(0)
    lesson = Lesson(levels=(2, 3), habits=CAREFUL, subtraction_share=0.5)
    drawn = [example(rng, lesson) for _ in range(400)]
    assert {item.question.level for item in drawn} == {2, 3}
    assert {item.question.family for item in drawn} == {"addition", "subtraction"}
    assert all(item.reply.endswith(f"\\boxed{{{item.question.answer}}}") for item in drawn)
