import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.answer_choice import AnswerChoice, ChoiceInvalid
from rewards.answers.kinds import AnswerKinds
from rewards.answers.math_answers import MathAnswers

CHOICES = [
    ("math", AnswerChoice("math")),
    ({"kind": "math", "last_number": True}, AnswerChoice("math", last_number=True)),
    ({"kind": "choice", "options": ["a", "b"]}, AnswerChoice("choice", options=("a", "b"))),
    ({"kind": "pattern", "pattern": "(.)"}, AnswerChoice("pattern", pattern="(.)")),
    ({"kind": "tool_calls", "parallel": False}, AnswerChoice("tool_calls", parallel=False)),
]


@pytest.mark.parametrize(("value", "choice"), CHOICES)
def test_a_choice_comes_from_a_name_or_an_object_and_goes_back(value, choice) -> None:
    assert AnswerChoice.from_json(value) == choice
    assert AnswerChoice.from_json(choice.to_json()) == choice
    assert choice.to_json() == ({"kind": value} if isinstance(value, str) else value)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "kind"),
        (7, "kind"),
        ({}, "kind"),
        ({"kind": ["math"]}, "kind"),
        ({"kind": "math", "colour": 1}, "colour"),
        ({"kind": "math", "options": ["a", "b"]}, "options"),
        ({"kind": "choice", "options": "ab"}, "options"),
        ({"kind": "choice", "options": ["a"]}, "options"),
        ({"kind": "choice", "options": ["a", 2]}, "options"),
        ({"kind": "choice", "options": ["a", ""]}, "options"),
        ({"kind": "choice", "options": ["a", "b" * 201]}, "options"),
        ({"kind": "choice", "options": [str(n) for n in range(257)]}, "options"),
        ({"kind": "pattern", "pattern": 7}, "pattern"),
        ({"kind": "pattern", "pattern": ""}, "pattern"),
        ({"kind": "pattern", "pattern": "é" * 501}, "pattern"),
        ({"kind": "math", "last_number": 1}, "last_number"),
        ({"kind": "tool_calls", "parallel": "no"}, "parallel"),
    ],
)
def test_a_bad_choice_names_its_field(value, field: str) -> None:
    with pytest.raises(ChoiceInvalid, match=f"^{field}: ") as error:
        AnswerChoice.from_json(value)
    assert error.value.field == field


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@given(json | st.fixed_dictionaries({"kind": json, "options": json, "pattern": json}))
def test_any_json_is_a_choice_or_refused(value) -> None:
    try:
        AnswerChoice.from_json(value)
    except ChoiceInvalid as error:
        assert str(error).startswith(f"{error.field}: ")


def test_the_same_choice_has_the_same_kind() -> None:
    kinds = AnswerKinds()
    assert isinstance(kinds.of(AnswerChoice("math")), MathAnswers)
    assert kinds.of(AnswerChoice("math")) is kinds.of(AnswerChoice("math"))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ChoiceInvalid, match=r"^kind: must be one of .*math"):
        AnswerKinds().of(AnswerChoice("words"))
