import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.answers import MAX_ANSWER_CHARS, canonical, equal, extract_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        ("The answer is 12. Yes.", "12"),
        ("the Answer is: x + 1\nmore", "x + 1"),
        ("first 3, then 1,234 and 5.5", "5.5"),
        ("it is -7", "-7"),
        ("about 1/3 of it", "1/3"),
    ],
)
def test_extracts_the_final_answer(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    "text",
    ["", "no number here", r"\boxed{", r"\boxed{3", r"\boxed{}", r"\boxed{ }", r"\boxed", "\\boxed{"
     + "9" * (MAX_ANSWER_CHARS + 1) + "}", r"\boxed{$ $}"],
)  # fmt: skip
def test_nothing_usable_is_no_answer(text: str) -> None:
    assert extract_answer(text) is None


def test_an_unclosed_box_does_not_fall_back_to_an_earlier_number() -> None:
    assert extract_answer(r"17 + 4 = \boxed{2") is None


@pytest.mark.parametrize(
    "forms",
    [
        ["1/2", "0.5", r"\frac{1}{2}", ".5", r"\dfrac{1}{2}", "0.50", "2/4"],
        ["1,000", "1000", "1{,}000", "1000.0", "+1000", " 1000. "],
        ["-3", "\u22123", r"\left-3\right", "-3.0"],
        ["x + 1", "X  +  1", r"\text{x + 1}"],
        ["0", "-0", "0.0", "0/5"],
    ],
)
def test_equal_forms_are_one_answer(forms: list[str]) -> None:
    assert len({canonical(form) for form in forms}) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("1", "2"), ("1/2", "1/3"), ("12", "1 and 2"), ("1/0", "0")]
)
def test_different_answers_differ(one: str, other: str) -> None:
    assert not equal(one, other)


@given(st.text(max_size=300))
def test_any_text_is_handled_and_never_yields_an_empty_answer(text: str) -> None:
    answer = extract_answer(text)
    assert answer is None or canonical(answer)


@given(st.fractions(max_denominator=10**6))
def test_a_fraction_equals_itself_however_written(value) -> None:
    assert canonical(f"{value.numerator}/{value.denominator}") == canonical(
        rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    )


@pytest.mark.parametrize("text", ["{" * 50_000, r"\boxed{" * 20_000, "9" * 100_000, "$" * 100_000])
def test_hostile_lengths_end_quickly(text: str) -> None:
    extract_answer(text)
