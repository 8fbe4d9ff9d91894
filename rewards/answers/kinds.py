"""All answer kinds, by name."""

from collections.abc import Callable, Mapping

from rewards.answers.kind import AnswerKind
from rewards.answers.math_answers import Judge, MathAnswers
from rewards.rollouts import DEFAULT_KIND

ANSWER_KINDS: Mapping[str, Callable[[Judge | None], AnswerKind]] = {DEFAULT_KIND: MathAnswers}
"""Each is built once per process, with the judge of mathematics."""

AnswerKinds = Mapping[str, AnswerKind]


def answer_kinds(judge: Judge | None = None) -> AnswerKinds:
    """Every kind, by name."""
    return {name: build(judge) for name, build in ANSWER_KINDS.items()}
