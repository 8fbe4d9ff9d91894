"""What most rollouts say, and how close each of them comes to it.

Two answers that differ in one field of ten are no majority together, and yet agree on nine: JSON
and tool calls are compared field by field.
"""

from collections.abc import Sequence

from rewards.answers.equality.forms import Kind, form_of
from rewards.answers.kind import AnswerKind
from rewards.answers.medoid import closeness_to_others
from rewards.answers.structured.agreement import (
    Fields,
    field_agreement,
    majority_fields,
    share_of_fields,
)
from rewards.answers.structured.json_answers import JsonAnswers, says_json
from rewards.answers.structured.tool_call_answers import ToolCallAnswers
from rewards.answers.tally import Tally
from rewards.votes import take_vote

FIELDED = frozenset({"json", "tool_calls"})
"""Kinds whose answers have fields."""

_NAMES = {Kind.WORDS: "short", Kind.OPTION: "choice"}
_JSON = JsonAnswers()


def kind_of(kind: AnswerKind, answer: str | None) -> str:
    """The name of the kind of an answer; of `auto` the one that it amounts to, and prose where
    there is none."""
    if kind.name != "auto":
        return kind.name
    if answer is None:
        return "text"
    if says_json(answer):
        return "json"
    return _NAMES.get(form_of(answer).kind, "math")


def fields_in(kind: AnswerKind, tally: Tally) -> list[Fields | None] | None:
    """The fields of each rollout's answer [M], None where it has none; None for all where the
    leading answer has no fields. Answers that are the same are read once."""
    leading = take_vote(tally).answer
    if leading is None or kind_of(kind, leading) not in FIELDED:
        return None
    reader = kind if isinstance(kind, JsonAnswers | ToolCallAnswers) else _JSON
    read = [reader.fields(label) for label in tally.labels]
    return [None if cluster is None else read[cluster] for cluster in tally.clusters]


def shares_by_field(fields: Sequence[Fields | None]) -> dict[str, float]:
    """The share of all rollouts that has the leading value, for each field most answers have."""
    given = [each for each in fields if each is not None]
    leading, shares = majority_fields(given), field_agreement(given)
    return {path: shares[path] * len(given) / len(fields) for path in leading}


def closeness_by_field(fields: Sequence[Fields | None]) -> list[float]:
    """The share of each answer's fields and the leading ones that agree [M]; 0 for no answer."""
    leading = majority_fields([each for each in fields if each is not None])
    return [0.0 if each is None else share_of_fields(each, leading) for each in fields]


def closeness_of(kind: AnswerKind, tally: Tally) -> list[float]:
    """How close each rollout's answer [M] is to what most say: by fields if it has any; for prose
    the mean closeness to the others; else 1 for the majority. 0 without an answer."""
    if (fields := fields_in(kind, tally)) is not None:
        return closeness_by_field(fields)
    if kind.name == "text":
        near = iter(closeness_to_others([text for text in tally.answers if text is not None]))
        return [0.0 if text is None else next(near) for text in tally.answers]
    cluster = take_vote(tally).cluster
    return [float(own is not None and own == cluster) for own in tally.clusters]
