"""Objects told apart by a field, and what is said of those that are none."""

from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from server.api.request_parts.part import Part
from server.api.surfaces.by_type import LIST, TEXT, TEXT_OR_LIST, Json, by_type


class Apple(Part):
    type: Literal["apple", "red_apple"]
    weight: int


class Pear(Part):
    type: Literal["pear"] = "pear"
    box: Json | None = None


FRUIT: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        Literal["none"] | Apple | Pear,
        by_type(Apple, Pear, refusal="is no fruit", untyped=Pear, words=("none",)),
    ]
)
BASKET: TypeAdapter[Any] = TypeAdapter(
    Annotated[Annotated[str, TEXT] | Annotated[list[Apple], LIST], TEXT_OR_LIST]
)


def refusal(adapter: TypeAdapter[Any], value: Any) -> tuple[tuple[Any, ...], str]:
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(value)
    [error] = caught.value.errors(include_input=False)
    return error["loc"], error["msg"].removeprefix("Value error, ")


def test_an_object_is_read_by_its_type() -> None:
    assert FRUIT.validate_python({"type": "red_apple", "weight": 3, "stem": True}) == Apple(
        type="red_apple", weight=3
    )
    assert FRUIT.validate_python({}) == Pear()
    assert FRUIT.validate_python("none") == "none"


@pytest.mark.parametrize(
    ("value", "where", "why"),
    [
        ({"type": "stone"}, (), "type stone: is no fruit"),
        ({"type": "Stone!"}, (), "type must be one of apple, pear, red_apple"),
        ({"type": 5}, (), "type must be one of apple, pear, red_apple"),
        ({"type": "apple", "weight": "3"}, ("weight",), "Input should be a valid integer"),
        ({"type": "apple"}, ("weight",), "Field required"),
        ("some", (), "must be none or an object"),
        ([], (), "must be none or an object"),
    ],
)
def test_what_is_wrong_is_said_once(value: Any, where: tuple[str, ...], why: str) -> None:
    assert refusal(FRUIT, value) == (where, why)


def test_a_text_or_a_list() -> None:
    assert BASKET.validate_python("apples") == "apples"
    assert refusal(BASKET, 5) == ((), "must be a text or a list")
    where, _ = refusal(BASKET, [{"type": "apple", "weight": 1}, {"type": "apple"}])
    assert where[-2:] == (1, "weight")


def test_an_object_that_could_not_be_written_again_is_refused() -> None:
    deep: Any = {}
    for _ in range(250):
        deep = {"a": deep}
    assert refusal(FRUIT, {"type": "pear", "box": deep})[1] == "nested too deeply"


json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # a table, made once
@given(json | st.fixed_dictionaries({"type": json | st.sampled_from(["apple", "pear"])}))
def test_whatever_is_sent_is_read_or_refused(value: Any) -> None:
    for adapter in (FRUIT, BASKET):
        try:
            made = adapter.validate_python(value)
        except ValidationError:
            continue
        assert isinstance(made, str | list | BaseModel)
