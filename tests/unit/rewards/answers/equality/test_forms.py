import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.answers.equality.forms import Kind, form_of, plainly_equal


def canonical(answer: str) -> str:
    return form_of(answer).text


def plain(first: str, second: str) -> bool | None:
    return plainly_equal(form_of(first), form_of(second))


@pytest.mark.parametrize(
    "forms",
    [
        [
            "1/2",
            "0.5",
            r"\frac{1}{2}",
            ".5",
            r"\dfrac{1}{2}",
            "0.50",
            "2/4",
            r"\frac12",
            r"\tfrac 1 2",
        ],
        [
            "1,000",
            "1000",
            "1{,}000",
            "1000.0",
            "+1000",
            " 1000. ",
            "1 000",
            "1e3",
            r"10 \times 10^{2}",
        ],
        ["-3", "\u22123", r"\left-3\right", "-3.0", "$-3$", r"\(-3\)", r"-\frac{6}{2}"],
        ["x + 1", "x  +  1", r"\text{x + 1}", "$x + 1$"],
        ["0", "-0", "0.0", "0/5"],
        ["918.5", r"918\frac{1}{2}", r"918 \frac 1 2"],
        ["-2.5", r"-2\frac{1}{2}", "-5/2", "5/-2", "-25e-1"],
        ["1234567.5", "1,234,567.5"],
        ["3", "\uff13", "\u0663", "3."],
        ["\u00bd", "1/2"],
        ["0.001", "1e-3", "1*10^-3"],
        [
            "B",
            "(B)",
            r"\text{B}",
            "B.",
            "(b)",
            "B) 42",
            "(B) 42",
            "B: because",
            r"\textbf{(B)}",
        ],
        ["yes", "Yes.", r"\text{YES}", "**yes**"],
    ],
)
def test_plainly_equal_forms_are_one_answer(forms: list[str]) -> None:
    assert {canonical(form) for form in forms} == {canonical(forms[0])}
    assert all(plain(forms[0], form) is True for form in forms)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "2"),
        ("1/2", "1/3"),
        ("1.5", "-1.5"),
        ("1000", "1001"),
        ("A", "B"),
        ("A", "1"),
        ("A", "x + 1"),
        ("yes", "no"),
        ("Evelyn", "3"),
        ("0.33333", "1/3"),
        ("0.333334", "1/3"),
        ("1e300", "1e299"),
    ],
)
def test_plainly_different(one: str, other: str) -> None:
    assert plain(one, other) is False
    assert plain(other, one) is False


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12", "1 and 2"), ("1/0", "0"), ("pi", r"\pi"), ("x^2", "x\u00b2 + 0"), ("0,111", "0.111"),
        ("12,34", "1234"), ("e", "2.7"), (r"\frac{1}{0}", "0"), ("x=5", "5"), ("-x", "1"),
    ],
)  # fmt: skip
def test_left_to_mathematics(one: str, other: str) -> None:
    assert plain(one, other) is None


@pytest.mark.parametrize(
    ("decimal", "exact"),
    [("0.333333", "1/3"), ("0.666667", "2/3"), ("0.0833333333333333", r"\frac{1}{12}"),
     ("-0.142857", "-1/7"), ("1/3", "0.33333333")],
)  # fmt: skip
def test_a_long_decimal_equals_what_rounds_to_it(decimal: str, exact: str) -> None:
    assert plain(decimal, exact) is True
    assert canonical(decimal) != canonical(exact)


def test_kinds() -> None:
    kinds = {"7": Kind.NUMBER, "C": Kind.OPTION, "Monday": Kind.WORDS, "x": Kind.EXPRESSION,
             "infinity": Kind.EXPRESSION, "New York": Kind.WORDS, "e": Kind.EXPRESSION,
             "J": Kind.OPTION, "K": Kind.EXPRESSION, "x2": Kind.WORDS,
             "2024-01-15": Kind.CODE, "A and B": Kind.WORDS, "H2O": Kind.WORDS}  # fmt: skip
    assert {text: form_of(text).kind for text in kinds} == kinds


def test_exponents_survive_normalisation() -> None:
    assert form_of("x\u00b2").source == "x^2"
    assert form_of("x\u00b9\u2070").source == "x^{10}"
    assert canonical("x\u00b2") != canonical("x2")


def test_thousands_are_only_read_where_groups_are_whole() -> None:
    assert canonical("12,345") == "12345"
    assert form_of("12,34").kind is Kind.EXPRESSION
    assert form_of("(1,234)").kind is Kind.EXPRESSION
    assert form_of("1,234,56").kind is Kind.EXPRESSION


def test_a_number_of_five_thousand_digits_is_only_text() -> None:
    assert form_of("7" * 1_000).kind is Kind.NUMBER
    assert form_of("7" * 1_001).kind is Kind.EXPRESSION
    assert plain("7" * 5_000, "7" * 5_000) is True


@given(st.text(max_size=200))
def test_any_text_has_a_form_and_equals_itself(text: str) -> None:
    assert plain(text, text) is True


@given(st.fractions(max_denominator=10**6))
def test_a_fraction_equals_itself_however_written(value) -> None:
    assert canonical(f"{value.numerator}/{value.denominator}") == canonical(
        rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    )


@given(st.integers(-(10**15), 10**15))
def test_an_integer_equals_itself_with_groups(value: int) -> None:
    assert canonical(f"{value:,}") == canonical(str(value)) == str(value)
