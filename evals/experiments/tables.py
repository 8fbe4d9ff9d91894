"""Numbers of records over seeds, and Markdown tables of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from evals.experiments.course import Record
from evals.statistics import Interval, over_seeds

Number = Callable[[Record], float]
"""Takes one number from a record."""


def scored(name: str, level: int = 0) -> Number:
    """A score at the end, of one level or (0) of all: `avg`, `maj`, `passed`, `tokens`, ..."""
    return lambda record: float(record["scores"][str(level)][name])


def stepped(name: str, first: int = 0, last: int | None = None) -> Number:
    """Mean of a step's number over the steps `first` to `last`."""

    def mean(record: Record) -> float:
        values = [float(step[name]) for step in record["steps"][first:last]]
        return sum(values) / len(values)

    return mean


def learning_seconds(record: Record) -> float:
    """Sampling, rewards and gradient steps of all updates."""
    return sum(
        value for step in record["steps"] for name, value in step.items() if "seconds/" in name
    )


def values(records: Iterable[Record], number: Number) -> list[float]:
    """One number a seed."""
    return [number(record) for record in records]


def mean(records: Sequence[Record], number: Number) -> Interval:
    """A number over seeds."""
    return over_seeds(values(records, number))


def accuracies(records: Sequence[Record]) -> list[str]:
    """avg@16 and maj@16, as cells."""
    return [mean(records, scored(name)).percent() for name in ("avg", "maj")]


def gain(
    records: Sequence[Record], before: Sequence[Record], number: Number, then: Number | None = None
) -> Interval:
    """`number` of `records` less `then` (or `number`) of `before`, seed by seed."""
    pairs = zip(values(records, number), values(before, then or number), strict=True)
    return over_seeds([after - first for after, first in pairs])


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdict(interval: Interval) -> str:
    """The interval of a difference, in a word."""
    return "above" if interval.low > 0 else "below" if interval.high < 0 else "undecided"
