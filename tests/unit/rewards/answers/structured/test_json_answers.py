"""JSON replies, and what must never be one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.answers.structured.canonical_json import (
    MAX_FIELDS,
    NotJson,
    canonical,
    canonical_text,
    fields_of,
    parsed,
)
from rewards.answers.structured.json_answers import JsonAnswers
from rewards.rollouts import FINISHED, Rollout

KIND = JsonAnswers()


def read(text: str) -> str | None:
    return KIND.read(Rollout(text, (), (), FINISHED))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"a": 1}', '{"a": 1}'),
        (" [1]\n", "[1]"),
        ("```json\n{}\n```", "{}"),
        ("```\n{}\n```\n", "{}"),
        ("<think>{}</think>[]", "[]"),
        ("5", "5"),
        ('"a"', '"a"'),
    ],
)
def test_the_whole_reply_is_read(text: str, answer: str) -> None:
    assert read(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "", "So: {}", "{} {}", "{", '{"a": NaN}', '{"a": Infinity}', '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "b": 2}}', "[" * 101 + "]" * 101, "[" * 100_000, "```json\n{}", "{'a': 1}",
        json.dumps(list(range(10_000))), json.dumps({str(n): n for n in range(10_000)}),
        '"' + "x" * 100_001 + '"', "[01]", "[1e" + "9" * 30 + "]", "[1,]", "// a\n{}",
    ],
)  # fmt: skip
def test_what_is_no_json_or_too_much_is_no_answer(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("1", "1"), ("1.0", "1"), ("-0", "0"), ("-0.0", "0"), ("0e5", "0"), ("1.50", "1.5"),
        ("15e-1", "1.5"), ("1e2", "100"), ("1E+2", "100"), ("0.00015", "0.00015"),
        ("1.5e-4", "0.00015"), ("1e30", "1e30"), ("1" + "0" * 30, "1e30"),
        ("9007199254740993", "9007199254740993e0"), ("1e-30", "1e-30"), ("-2.50", "-2.5"),
        ("123456789012345", "123456789012345"), ("7" * 5_000, "7" * 5_000 + "e0"),
    ],
)  # fmt: skip
def test_numbers_are_exact_and_have_one_text(number: str, shown: str) -> None:
    assert canonical_text(number) == canonical(parsed(number)) == shown


def test_strings_that_look_like_numbers_stay_strings() -> None:
    assert not KIND.same('["1.5"]', "[1.5]")
    assert not KIND.same('["\\ud800#1.5"]', "[1.5]")


@pytest.mark.parametrize(
    "text", [r'{"\ud800": 1}', r'{"a": "\uDfff"}', r'["\ud800#1.5", 2.0]', r'["\udc00\ud800"]']
)
def test_half_of_a_character_is_no_answer(text: str) -> None:
    """It could not be written in any reply."""
    assert read(text) is None


def test_both_halves_are() -> None:
    text = r'{"\ud83d\ude00": "\ud83d\ude00"}'
    assert KIND.same(text, '{"\U0001f600": "\U0001f600"}')
    assert KIND.fields(text) == {"/\U0001f600": r'"\ud83d\ude00"'}


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(values)
def test_both_ways_to_write_it_agree(value) -> None:
    text = json.dumps(value)
    assert canonical_text(text) == canonical(parsed(text)) == canonical_text(canonical_text(text))


@given(values, values)
def test_only_equal_values_have_one_text(one, other) -> None:
    first, second = json.dumps(one, sort_keys=True), json.dumps(other, sort_keys=True)
    equal = repr(parsed(first)) == repr(parsed(second))
    assert KIND.same(first, second) == equal


def test_fields_go_by_path() -> None:
    assert fields_of(parsed('{"a": [1, {"b/c": "x"}], "d": {}, "~": null}')) == {
        "/a/0": "1", "/a/1/b~1c": '"x"', "/d": "{}", "/~0": "null",
    }  # fmt: skip
    assert fields_of(parsed("7")) == {"": "7"}


def test_closeness_is_the_share_of_fields_that_agree() -> None:
    assert KIND.closeness('{"a": 1, "b": 2}', '{"a": 1.0, "b": 3}') == 1 / 2
    assert KIND.closeness('{"a": 1, "b": 2}', '{"a": 1, "c": 2}') == 1 / 3
    assert KIND.closeness("[]", "{}") == 0.0
    assert KIND.closeness("no json", "{}") == 0.0


def test_the_largest_number_of_fields_is_still_an_answer() -> None:
    text = json.dumps(list(range(MAX_FIELDS)))
    assert read(text) == text
    with pytest.raises(NotJson, match="too many fields"):
        parsed(json.dumps(list(range(MAX_FIELDS + 1))))
