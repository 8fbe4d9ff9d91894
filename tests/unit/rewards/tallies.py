"""Tallies for tests: answers compared by plain kind, signals beside them."""

from collections.abc import Sequence

from rewards.answers.kind import cluster_of
from rewards.answers.math_answers import MathAnswers
from rewards.answers.tally import Tally
from rewards.estimators.evidence import Evidence, Label


def tally(answers: Sequence[str | None]) -> Tally:
    return MathAnswers().tally(answers)


def evidence(answers: Sequence[str | None], **given) -> Evidence:
    """`truth` and `paraphrase` as text, every other keyword a signal."""
    votes = tally(answers)
    outside = {
        name: Label(given[name], cluster_of(MathAnswers(), votes, given.pop(name)))
        for name in ("truth", "paraphrase")
        if name in given
    }
    return Evidence(votes, given, **outside)
