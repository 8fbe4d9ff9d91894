"""Ballots for tests: answers compared by plain equality, signals beside them."""

from collections.abc import Sequence

from rewards.answers.equality import Equality
from rewards.answers.tally import Ballot
from rewards.estimators.evidence import Evidence, Label


def ballot(answers: Sequence[str | None]) -> Ballot:
    return Equality().ballot(answers)


def evidence(answers: Sequence[str | None], **given) -> Evidence:
    """`truth` and `paraphrase` as text, every other keyword a signal."""
    votes = ballot(answers)
    outside = {
        name: Label(given[name], Equality().matches(votes, given.pop(name)))
        for name in ("truth", "paraphrase")
        if name in given
    }
    return Evidence(votes, given, **outside)
