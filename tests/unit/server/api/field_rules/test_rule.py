"""What is done with the fields of a request, by a table of rules."""

from typing import Any

import pytest

from server.api.errors import ApiError
from server.api.field_rules.rule import (
    FieldRule,
    Reach,
    Use,
    admitted,
    fields,
    passed_on,
    schema_of,
)

TABLE = {
    **fields(FieldRule(Use.ACCEPTED, "OpenAI"), "model user"),
    **fields(FieldRule(Use.PASSED_ON, "OpenAI"), "stop"),
    **fields(FieldRule(Use.PASSED_ON, "OpenAI", reach=Reach.SINGLE), "seed"),
    **fields(FieldRule(Use.IGNORED, "OpenAI"), "verbosity"),
    **fields(FieldRule(Use.REFUSED, "OpenAI", "replies are text", harmless=(["text"], 1)), "form"),
}


def left(body: dict[str, Any], *, ignore_unknown: bool = False) -> dict[str, Any]:
    return admitted(TABLE, body, ignore_unknown=ignore_unknown)


def test_nulls_and_hints_are_dropped_and_the_rest_is_kept() -> None:
    given = {"model": "m", "user": None, "stop": "x", "verbosity": {"any": 1}, "form": None}
    assert left(given) == {"model": "m", "stop": "x"}


def test_what_is_refused_says_why_unless_its_value_is_harmless() -> None:
    assert left({"form": ["text"]}) == left({"form": 1}) == left({"form": 1.0}) == {}
    for value in (["text", "audio"], True, 2, {}, ""):
        with pytest.raises(ApiError, match="form: replies are text") as error:
            left({"form": value})
        assert (error.value.status, error.value.param) == (400, "form")


@pytest.mark.parametrize("value", [1, None])
def test_an_unknown_field_is_named_or_dropped(value: Any) -> None:
    with pytest.raises(ApiError, match="Unknown field: colour") as error:
        left({"colour": value})
    assert (error.value.param, error.value.code) == ("colour", "unknown_field")
    assert left({"colour": value, "stop": "x"}, ignore_unknown=True) == {"stop": "x"}


def test_an_endless_name_is_cut_in_the_error() -> None:
    with pytest.raises(ApiError) as error:
        left({"x" * 1_000_000: 1})
    assert len(error.value.message) < 100


def test_a_vote_gets_fewer_fields_than_a_single_rollout() -> None:
    assert passed_on(TABLE, single=False) == {"stop"}
    assert passed_on(TABLE, single=True) == {"stop", "seed"}


def test_the_schema_has_what_no_model_has() -> None:
    described = schema_of(TABLE)
    assert described.keys() == {"verbosity", "form"}
    assert described["form"]["enum"] == [None, ["text"], 1]
