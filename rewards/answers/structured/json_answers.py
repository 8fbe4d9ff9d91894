"""Answer kind `json`: a whole reply that is JSON, in a fence or not."""

import re
from collections.abc import Sequence

from rewards.answers.kind import may_vote
from rewards.answers.reading.reasoning import without_reasoning
from rewards.answers.structured.agreement import Fields, share_of_fields
from rewards.answers.structured.canonical_json import (
    NotJson,
    canonical_or_none,
    canonical_text,
    fields_of,
    parsed,
    unfenced,
)
from rewards.answers.tally import Tally, tally_by
from rewards.rollouts import Rollout

_NO_INTERVAL = re.compile(r"[\"{]|\A\[\s*\]")


class JsonAnswers:
    """The same by value: keys in any order, 1 is 1.0. Duplicate keys, NaN, and more than 2,000
    fields are no answer."""

    name = "json"

    def read(self, rollout: Rollout) -> str | None:
        """The answer of a rollout, None if there is none."""
        reply = without_reasoning(rollout.text) if may_vote(rollout) else None
        return None if reply is None else whole_json(reply)

    def fields(self, answer: str) -> Fields:
        """The leaves of an answer, by path."""
        try:
            return fields_of(parsed(answer))
        except NotJson:
            return {"": answer}

    def same(self, first: str, second: str) -> bool:
        """Whether two answers have the same value."""
        return canonical_text(first) == canonical_text(second)

    def closeness(self, first: str, second: str) -> float:
        """The share of fields that agree, by path."""
        if self.same(first, second):
            return 1.0
        return share_of_fields(self.fields(first), self.fields(second))

    def tally(self, answers: Sequence[str | None]) -> Tally:
        """Cluster M answers, whatever their order."""
        return tally_by(answers, canonical_text)

    def instant(self, answers: Sequence[str | None]) -> bool:
        """Nothing waits."""
        return True


def whole_json(reply: str, containers: bool = False) -> str | None:
    """The reply as JSON text; None if it is none, or with `containers` neither an object nor a
    list."""
    text = unfenced(reply)
    if not text or (containers and text[0] not in "{["):
        return None
    return None if canonical_or_none(text) is None else text


def says_json(answer: str) -> bool:
    """Whether an answer of any kind is a JSON object or a list. A list of numbers alone may be an
    interval."""
    if not answer.startswith("{") and not (answer.startswith("[") and _NO_INTERVAL.search(answer)):
        return False
    return whole_json(answer) is not None
