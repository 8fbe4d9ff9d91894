"""All answer kinds, by name, built from the choice that a group carries."""

from collections.abc import Callable, Mapping
from functools import lru_cache

from rewards.answer_choice import AnswerChoice, ChoiceInvalid
from rewards.answers.auto_answers import AutoAnswers
from rewards.answers.choice_answers import ChoiceAnswers
from rewards.answers.judging.verdicts import Judge
from rewards.answers.kind import AnswerKind
from rewards.answers.math_answers import MathAnswers
from rewards.answers.pattern_answers import PatternAnswers
from rewards.answers.prose import Prose
from rewards.answers.short_answers import ShortAnswers
from rewards.answers.structured.json_answers import JsonAnswers
from rewards.answers.structured.tool_call_answers import ToolCallAnswers

ANSWER_KINDS: Mapping[str, Callable[[AnswerChoice, Judge | None], AnswerKind]] = {
    "auto": lambda choice, judge: AutoAnswers(judge),
    "math": lambda choice, judge: MathAnswers(judge, last_number=choice.last_number),
    "choice": lambda choice, judge: ChoiceAnswers(choice.options),
    "short": lambda choice, judge: ShortAnswers(),
    "json": lambda choice, judge: JsonAnswers(),
    "tool_calls": lambda choice, judge: ToolCallAnswers(choice.parallel),
    "pattern": lambda choice, judge: PatternAnswers(choice.pattern),
    "text": lambda choice, judge: Prose(),
}
"""Each is built from a choice, with the judge of mathematics; ChoiceInvalid if it cannot be."""

_MAX_KINDS = 64
"""A pattern may take a megabyte as it is used."""


class AnswerKinds:
    """The kinds of one process. They share a judge of mathematics."""

    def __init__(self, judge: Judge | None = None) -> None:
        self._judge = judge
        self._built = lru_cache(maxsize=_MAX_KINDS)(self._build)

    def of(self, choice: AnswerChoice) -> AnswerKind:
        """The kind that was chosen; the same one for the same choice, as long as the last 64
        choices last. Raises ChoiceInvalid, which names the field."""
        return self._built(choice)

    def _build(self, choice: AnswerChoice) -> AnswerKind:
        if choice.kind not in ANSWER_KINDS:
            raise ChoiceInvalid("kind", f"must be one of {', '.join(ANSWER_KINDS)}")
        return ANSWER_KINDS[choice.kind](choice, self._judge)
