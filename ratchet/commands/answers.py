"""The answer kind that a command is told: a name, or a JSON object with options."""

import json
from typing import Any

from ratchet.errors import ConfigurationError
from rewards.answer_choice import AnswerChoice, ChoiceInvalid
from rewards.answers.kind import AnswerKind
from rewards.answers.kinds import AnswerKinds
from rewards.answers.math_answers import Judge


def choice_from(text: str) -> AnswerChoice:
    """What `--answer` says. Raises ConfigurationError."""
    try:
        value: Any = json.loads(text) if text.lstrip().startswith("{") else text
        choice = AnswerChoice.from_json(value)
        AnswerKinds().of(choice)
    except ChoiceInvalid as error:
        raise ConfigurationError(f"--answer: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"--answer: not valid JSON: {error}") from None
    return choice


def kind_from(text: str, judge: Judge) -> AnswerKind:
    """The kind that `--answer` says. Raises ConfigurationError."""
    return AnswerKinds(judge).of(choice_from(text))
