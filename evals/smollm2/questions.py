"""Questions that SmolLM2-135M half knows: small products, and word problems about them.

At T 0.6 a third to a half of its rollouts are right, and more of its votes, so there is something
to learn from without labels.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evals.items import Item

_ASK = " Answer with just the number."
_THINGS = ("pens", "apples", "stamps", "coins", "shells", "books", "cards", "marbles")
_HOLDERS = ("boxes", "bags", "trays", "jars")
_MOST = 12
_HELD_OUT_SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of question about the product of two numbers, the first up to `most`: its text, in
    words that `rng` may choose."""

    name: str
    most: int
    text: Callable[[int, int, random.Random], str]


def _groups(a: int, b: int, rng: random.Random) -> str:
    things, holders = rng.choice(_THINGS), rng.choice(_HOLDERS)
    return f"There are {a} {holders} with {b} {things} in each. How many {things} are there?"


FAMILIES: tuple[Family, ...] = (
    Family("times", _MOST, lambda a, b, _: f"What is {a} times {b}?"),
    Family("multiplied", _MOST, lambda a, b, _: f"What is {a} multiplied by {b}?"),
    Family("groups", 6, _groups),
)


WORDED: tuple[Family, ...] = (
    FAMILIES[2],
    Family("packs", 6, lambda a, b, _: f"A pack has {b} pencils. How many are in {a} packs?"),
    Family("days", 6, lambda a, b, _: f"Ann reads {b} pages a day. How many in {a} days?"),
)
"""One-step word problems in more forms, so that fewer of many are about the same two numbers."""


def stream_and_held_out(
    seed: int, count: int, held_out: int, families: Sequence[Family] = FAMILIES
) -> tuple[list[Item], list[Item]]:
    """`count` questions to ask and `held_out` others to measure by (at most 60), drawn by `seed`,
    the `families` in turn. The same two numbers, in either order, are never on both sides.
    Questions to ask come again once all have been asked, word problems in other words."""
    rng = random.Random(seed)
    pairs = [(a, b) for a in range(2, _MOST + 1) for b in range(a, _MOST + 1)]
    rng.shuffle(pairs)
    apart = set(pairs[: round(_HELD_OUT_SHARE * len(pairs))])
    test = _in_turn(families, apart, held_out, rng, "held-out")
    return _in_turn(families, set(pairs) - apart, count, rng, "asked"), test


def _in_turn(
    families: Sequence[Family],
    pairs: set[tuple[int, int]],
    count: int,
    rng: random.Random,
    side: str,
) -> list[Item]:
    """So many questions about these pairs in either order."""
    ordered = sorted(pairs | {(b, a) for a, b in pairs})
    rows: list[Sequence[tuple[int, int]]] = []
    for family in families:
        fitting = [pair for pair in ordered if pair[0] <= family.most]
        rows.append(rng.sample(fitting, len(fitting)))
    items: list[Item] = []
    for number in range(count):
        turn, which = divmod(number, len(families))
        family, (a, b) = families[which], rows[which][turn % len(rows[which])]
        text = family.text(a, b, rng) + _ASK
        items.append(Item(f"{side}-{number}", text, str(a * b), family.name))
    return items
