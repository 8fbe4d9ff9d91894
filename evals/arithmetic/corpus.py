"""Worked steps of column arithmetic, and the weak reasoner whose errors the model learns.

The reasoner works from the right: it writes each column's digit, then `carry` (or `borrow`) if the
column overflows, then the whole number. It knows the digits well, but forgets carries at random:
how often depends on the column.

    478+356   ->   4 carry 3 carry 8 \\boxed{834}   right
    478+356   ->   4 2 carry 8 \\boxed{824}         the first carry was forgotten

Each example draws it anew, so a model cannot learn *when* a carry is forgotten, only *how often*:
it ends up uncertain exactly there.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from evals.arithmetic.questions import LEVELS, Question, operands, question

MARKS = {"addition": "carry", "subtraction": "borrow"}
# The digit written when a column overflows by the least.
BARELY = {"addition": 0, "subtraction": 9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How often a reasoner slips. Log-odds add up; columns count from 0 at the right."""

    log_odds: float = -1.15
    """Log-odds to forget a carry out of the rightmost column."""
    per_column: float = 0.2
    """Added for each column further to the left."""
    hidden: float = 2.0
    """Added when the column overflows by the least (10 in a sum): easy to overlook."""
    subtraction: float = 0.7
    """Added for a borrow: it has practised subtraction less."""
    shaken: float = 0.3
    """Chance that a later column is off by one, once a carry has been forgotten."""

    def chance_to_forget(self, column: int, digit: int, family: str) -> float:
        """Probability that the carry out of this column is forgotten."""
        odds = self.log_odds + self.per_column * column
        odds += self.hidden if digit == BARELY[family] else 0.0
        odds += self.subtraction if family == "subtraction" else 0.0
        return 1 / (1 + math.exp(-odds))


WEAK = Habits()
CAREFUL = Habits(log_odds=-math.inf, shaken=0.0)


def worked(left: int, right: int, family: str, *, habits: Habits, rng: random.Random) -> str:
    """The steps and the boxed answer, as a reasoner with these habits writes them.

    `left` must not be smaller than `right` for subtraction, nor have fewer digits.
    """
    sign = 1 if family == "addition" else -1
    width = len(str(left))
    parts: list[str] = []
    digits: list[str] = []
    carry, lost = 0, False
    for column in range(width):
        total = left // 10**column % 10 + sign * (right // 10**column % 10 + carry)
        if lost and rng.random() < habits.shaken:
            total += rng.choice((-1, 1))
        digit, overflows = total % 10, not 0 <= total <= 9
        parts.append(str(digit))
        digits.append(str(digit))
        forgets = rng.random() < habits.chance_to_forget(column, digit, family)
        carry = int(overflows and not forgets)
        lost = lost or (overflows and forgets)
        if carry:
            parts.append(MARKS[family])
    if carry and family == "addition":
        parts.append("1")
        digits.append("1")
    answer = int("".join(reversed(digits)))
    return f"{' '.join(parts)} \\boxed{{{answer}}}"


def guessed(left: int, right: int, family: str, rng: random.Random) -> str:
    """The same format with random digits and marks, as written without any skill."""
    mark = MARKS[family]
    digits = [str(rng.randrange(10)) for _ in range(max(len(str(left)), len(str(right))))]
    parts = [digit if rng.random() < 0.5 else f"{digit} {mark}" for digit in digits]
    return f"{' '.join(parts)} \\boxed{{{int(''.join(reversed(digits)))}}}"


@dataclass(frozen=True, slots=True)
class Lesson:
    """What to draw examples from."""

    levels: tuple[int, ...] = LEVELS
    habits: Habits = WEAK
    subtraction_share: float = 0.15
    ignorant: bool = False
    """Guesses in place of steps."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question and one reply to it, as training text."""

    question: Question
    reply: str


def example(rng: random.Random, lesson: Lesson) -> Example:
    """One example, all levels of the lesson alike."""
    family = "subtraction" if rng.random() < lesson.subtraction_share else "addition"
    level = rng.choice(lesson.levels)
    left, right = operands(rng, level, family)
    if lesson.ignorant:
        reply = guessed(left, right, family, rng)
    else:
        reply = worked(left, right, family, habits=lesson.habits, rng=rng)
    return Example(question(left, right, level, family), reply)
