"""An order of queries of which every beginning has its share of each part of the traffic."""

import random
from collections.abc import Hashable, Sequence


def spread(parts: Sequence[Sequence[Hashable]], noise: random.Random) -> list[int]:
    """A random order of the items; of each, `parts` names what it belongs to, the largest first. A
    part that is a tenth of all has two of the first 24 items at least, and not more than four.

    Items of one part lie side by side on a circle, and are taken at the points of a van der Corput
    sequence, which are as even as can be at every moment.
    """
    place: dict[Sequence[Hashable], float] = {}

    def row(names: Sequence[Hashable]) -> list[float]:
        heads = (tuple(names[: depth + 1]) for depth in range(len(names)))
        return [place.setdefault(head, noise.random()) for head in heads]

    circle = sorted(range(len(parts)), key=lambda item: [*row(parts[item]), noise.random()])
    count = len(circle)
    bits, start = max(0, count - 1).bit_length(), noise.randrange(max(1, count))
    points = (_reversed(step, bits) for step in range(1 << bits))
    return [circle[(start + point) % count] for point in points if point < count]


def _reversed(value: int, bits: int) -> int:
    """The number with so many binary digits in reverse."""
    return int(f"{value:0{bits}b}"[::-1], 2) if bits else value
