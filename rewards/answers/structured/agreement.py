"""Agreement of answers field by field."""

from collections import Counter
from collections.abc import Mapping, Sequence

Fields = Mapping[str, str]
"""Canonical leaves of an answer, by path."""


def share_of_fields(first: Fields, second: Fields) -> float:
    """The share of all paths of both at which both have the same leaf; 1 for two without any."""
    paths = first.keys() | second.keys()
    if not paths:
        return 1.0
    return sum(path in second and second[path] == leaf for path, leaf in first.items()) / len(paths)


def majority_fields(answers: Sequence[Fields]) -> dict[str, str]:
    """The most frequent leaf at each path that at least half of the answers have; of equally
    frequent ones the first."""
    leaves = _leaves(answers)
    return {
        path: counts.most_common(1)[0][0]
        for path, counts in leaves.items()
        if 2 * counts.total() >= len(answers)
    }


def field_agreement(answers: Sequence[Fields]) -> dict[str, float]:
    """The share of the answers that have the most frequent leaf, at each path that any has."""
    return {
        path: counts.most_common(1)[0][1] / len(answers)
        for path, counts in _leaves(answers).items()
    }


def _leaves(answers: Sequence[Fields]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for fields in answers:
        for path, leaf in fields.items():
            found.setdefault(path, Counter())[leaf] += 1
    return found
