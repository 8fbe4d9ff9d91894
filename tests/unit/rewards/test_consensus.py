"""What most rollouts say, by numbers worked out by hand."""

import pytest

from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.answers.tally import Tally
from rewards.consensus import (
    closeness_by_field,
    closeness_of,
    fields_in,
    kind_of,
    shares_by_field,
)

KINDS = AnswerKinds()
WEATHER = ['{"city":"Rome","days":3}', '{"days":4,"city":"Rome"}', '{"city":"Oslo","days":3.0}']


def counted(kind: str, *answers: str | None) -> Tally:
    return KINDS.of(AnswerChoice(kind)).tally(answers)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("34", "math"), (r"\frac12", "math"), ("[0,1]", "math"), ("2024-01-15", "math"),
        ("B", "choice"), ("Tokyo", "short"), ('{"a":1}', "json"), ('["a"]', "json"),
        ("{1,2}", "math"), (None, "text"),
    ],
)  # fmt: skip
def test_auto_amounts_to_a_kind(answer: str | None, name: str) -> None:
    assert kind_of(KINDS.of(AnswerChoice("auto")), answer) == name


def test_other_kinds_are_what_they_are() -> None:
    for name in ("math", "short", "tool_calls", "text"):
        for answer in ("34", None):
            assert kind_of(KINDS.of(AnswerChoice(name)), answer) == name


@pytest.mark.parametrize("kind", ["json", "auto"])
def test_the_leading_value_of_each_field_need_not_be_one_answer_s(kind: str) -> None:
    fields = fields_in(KINDS.of(AnswerChoice(kind)), counted(kind, *WEATHER, None))
    assert fields is not None
    assert shares_by_field(fields) == {"/city": 0.5, "/days": 0.5}  # two of four rollouts
    assert closeness_by_field(fields) == [1.0, 0.5, 0.5, 0.0]


def test_a_field_that_most_do_not_have_is_none_of_the_consensus() -> None:
    fields = [{"/a": "1"}, {"/a": "1"}, {"/a": "1", "/b": "2"}, None]
    assert shares_by_field(fields) == {"/a": 0.75}
    assert closeness_by_field(fields) == [1.0, 1.0, 0.5, 0.0]


def test_calls_have_fields() -> None:
    one, other = '[{"arguments":{"city":"Rome"},"name":"weather"}]', "[]"
    fields = fields_in(KINDS.of(AnswerChoice("tool_calls")), counted("tool_calls", one, one, other))
    assert fields is not None
    assert closeness_by_field(fields) == [1.0, 1.0, 0.0]


def test_what_has_no_fields_has_none() -> None:
    for kind, answers in (("math", ["1", "2"]), ("auto", ["Tokyo", '{"a":1}']), ("json", [None])):
        assert fields_in(KINDS.of(AnswerChoice(kind)), counted(kind, *answers)) is None


def test_closeness_without_fields_is_agreement() -> None:
    kind = KINDS.of(AnswerChoice("math"))
    assert closeness_of(kind, kind.tally(["1", "1.0", "2", None])) == [1.0, 1.0, 0.0, 0.0]
    assert closeness_of(kind, kind.tally([None, None])) == [0.0, 0.0]


def test_closeness_of_prose_is_the_mean_over_the_others() -> None:
    kind = KINDS.of(AnswerChoice("text"))
    near = closeness_of(kind, kind.tally(["a b c d", "a b c d", "a b x y", None]))
    # ROUGE-L of the third to each of the others: 2 * 2 common words of 4 + 4.
    assert near == pytest.approx([0.75, 0.75, 0.5, 0.0])
    assert closeness_of(kind, kind.tally(["alone"])) == [0.0]
