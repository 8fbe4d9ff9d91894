"""Tallies for tests: answers compared by plain kind, signals beside them."""

from collections.abc import Sequence

from rewards.answers.kind import cluster_of
from rewards.answers.math_answers import MathAnswers
from rewards.answers.tally import Tally
from rewards.estimators.evidence import Chosen, Evidence, Label, label_of


def tally(answers: Sequence[str | None]) -> Tally:
    return MathAnswers().tally(answers)


def evidence(answers: Sequence[str | None], **given) -> Evidence:
    """`truth` and `paraphrase` as text, `chosen` what a reflection chose, `texts` and `looks` as
    they are; every other keyword a signal."""
    votes = tally(answers)
    outside = {
        name: Label(given[name], cluster_of(MathAnswers(), votes, given.pop(name)))
        for name in ("truth", "paraphrase")
        if name in given
    }
    outside |= {name: given.pop(name) for name in ("texts", "looks") if name in given}
    if "chosen" in given:
        outside["reflection"] = Chosen(label_of(MathAnswers(), votes, given.pop("chosen")))
    return Evidence(votes, given, **outside)
