"""Arithmetic questions with known answers, in levels, drawn without repetition from a seed.

A level is a length and a number of carries (borrows, in a subtraction): both make errors likelier.
Nothing here needs torch.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from evals.items import Item

# Level: digits of either number, fewest and most carries.
SHAPES: dict[int, tuple[int, int, int]] = {
    1: (2, 0, 1),
    2: (3, 0, 1),
    3: (3, 2, 2),
    4: (4, 2, 2),
    5: (4, 3, 4),
}
LEVELS: tuple[int, ...] = tuple(SHAPES)
FAMILIES: tuple[str, ...] = ("addition", "subtraction")

SIGNS = {"addition": "+", "subtraction": "-"}
# Draws before a level counts as used up; the smallest has 4,005 questions (subtraction, level 1).
_PATIENCE = 1000


@dataclass(frozen=True, slots=True)
class Question:
    """One question as a user would type it, and its answer in decimal digits."""

    id: str
    text: str
    answer: str
    level: int
    family: str


def carries(left: int, right: int, family: str) -> int:
    """Columns that overflow when the sum (difference) is done by hand, without error."""
    sign = 1 if family == "addition" else -1
    count, carry = 0, 0
    while left or right:
        total = left % 10 + sign * (right % 10 + carry)
        carry = int(not 0 <= total <= 9)
        count += carry
        left, right = left // 10, right // 10
    return count


def operands(rng: random.Random, level: int, family: str) -> tuple[int, int]:
    """Two numbers of the level's shape; for subtraction the first is the larger."""
    digits, fewest, most = SHAPES[level]
    low, high = 10 ** (digits - 1), 10**digits - 1
    while True:
        left, right = rng.randint(low, high), rng.randint(low, high)
        if family == "subtraction":
            left, right = max(left, right), min(left, right)
            # Equal numbers would make the answer 0, which no step shows.
            if left == right:
                continue
        if fewest <= carries(left, right, family) <= most:
            return left, right


def question(left: int, right: int, level: int, family: str) -> Question:
    """The question about two given numbers. ValueError for an unknown family."""
    if family not in SIGNS:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {family!r}")
    term = f"{left}{SIGNS[family]}{right}"
    value = left + right if family == "addition" else left - right
    return Question(
        id=f"{family}-{level}-{term}",
        text=f"What is {term}?",
        answer=str(value),
        level=level,
        family=family,
    )


def questions(
    seed: int,
    count: int,
    *,
    family: str = "addition",
    levels: Sequence[int] = LEVELS,
    exclude: Collection[str] = (),
) -> list[Question]:
    """`count` questions with distinct texts, none of them in `exclude` (texts).

    The same arguments give the same list on every machine. Levels take turns, so any prefix is
    as balanced as can be. ValueError if the family or a level is unknown, or if a level has too
    few questions left.
    """
    if family not in SIGNS:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {family!r}")
    if not levels or not set(levels) <= set(LEVELS):
        raise ValueError(f"levels must be some of {LEVELS}, not {tuple(levels)}")
    rng = random.Random(f"{family}:{seed}")
    taken = set(exclude)
    drawn: list[Question] = []
    for index in range(count):
        level = levels[index % len(levels)]
        for _ in range(_PATIENCE):
            left, right = operands(rng, level, family)
            candidate = question(left, right, level, family)
            if candidate.text not in taken:
                break
        else:
            raise ValueError(f"{family} level {level} has too few questions for count={count}")
        taken.add(candidate.text)
        drawn.append(candidate)
    return drawn


def as_items(asked: Sequence[Question]) -> list[Item]:
    """The questions as a data set's items."""
    return [Item(one.id, one.text, one.answer, f"L{one.level}") for one in asked]


def paraphrase(asked: Question) -> Question:
    """The same sum with its numbers swapped: another text, the same answer. ValueError for a
    subtraction, which has no paraphrase."""
    if asked.family != "addition":
        raise ValueError(f"{asked.text!r} is no addition: only those can be paraphrased")
    left, right = asked.text.removeprefix("What is ").removesuffix("?").split("+")
    return Question(asked.id, f"What is {right}+{left}?", asked.answer, asked.level, asked.family)


def stream_and_held_out(
    seed: int,
    stream: int,
    held_out: int,
    *,
    family: str = "addition",
    levels: Sequence[int] = LEVELS,
) -> tuple[list[Question], list[Question]]:
    """Traffic and held-out questions, from one distribution, without a common text."""
    both = questions(seed, stream + held_out, family=family, levels=levels)
    # Held-out questions come first, so a longer stream leaves them as they are.
    return both[held_out:], both[:held_out]
