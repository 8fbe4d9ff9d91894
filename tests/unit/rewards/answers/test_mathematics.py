"""How math-verify's reading of answers is used; in this process, on harmless answers."""

import logging
from collections.abc import Iterator

import pytest

from rewards.answers.mathematics import comparable, equivalent, expressions_in


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """math-verify warns that nobody bounds its time; here nobody has to."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def same(first: str, second: str) -> bool:
    return equivalent(expressions_in(first), expressions_in(second))


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        ("5", "x", False),
        ("5m", "5", False),
        ("5m", "5g", False),
        ("P", "p", False),
        (r"\pi", r"\Pi", False),
        ("f'(x)", "f(x)", False),
        ("x, y", "y, x", False),
        ("a=4, -8", "-8, 4", True),
        ("2 and 3", "2 or 3", False),
        (r"\{x\}", "x", False),
        ("x=5", "y=5", True),
        ("x=5", "5", True),
        ("x = y = 5", "5", True),
        ("1 = x = 5", "5", True),
        ("|AB|=5", "5", True),
        ("(p,q)=(3,2)", "(3,2)", True),
        ("x = -5, p = 3", "-5, 3", True),
        ("2x+1=5", "5", False),
        ("2-x=5", "5", False),
        ("x^2=5", "5", False),
        ("7=a", "a", False),
        ("x \\le 5", "5", True),
        ("x<=5", "5", True),
        ("x \\neq 5", "5", True),
        ("(1,2)", r"\{1,2\}", False),
        ("(1,2)", "[1,2]", True),
        (r"\{1,2\}", "1,2", True),
    ],
)
def test_comparable_whichever_comes_first(first: str, second: str, allowed: bool) -> None:
    assert comparable(first, second) is allowed
    assert comparable(second, first) is allowed


def test_latex_is_read_before_plain_text() -> None:
    assert str(expressions_in(r"\frac{1}{2}")[0]) == "1/2"
    assert str(expressions_in("2, 3")[0]) == "{2, 3}"


def test_a_decimal_comma_is_read_as_plain_text_first() -> None:
    assert float(expressions_in("1,25")[0]) == 1.25
    assert str(expressions_in("2,3")[0]) == "{2, 3}"


def test_braces_alone_group() -> None:
    assert same("{1,3}", "(1,3)")
    assert not same("{1,3}", "(3,1)")
    assert same(r"\{1,3\}", r"\{3,1\}")


def test_nothing_to_read() -> None:
    assert list(expressions_in("")) == []
    assert not equivalent([], expressions_in("1"))


def test_either_side_may_be_gold() -> None:
    interval, inequality = "(-3, 4)", "-3 < a < 4"
    assert same(interval, inequality)
    assert same(inequality, interval)
    assert not same(interval, "-3 < a < 5")


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (r"\sqrt{2}", r"\frac{2}{\sqrt{2}}", True),
        (r"\sqrt{2}", r"\sqrt{3}", False),
        (r"\sqrt{2}", "1.4142136", True),
        (r"\sqrt{2}", "1.4143", False),
        (r"10\%", "10", True),
        (r"10\%", "0.1", True),
        (r"10\%", "0.2", False),
        ("i", "-i", False),
        (r"\infty", r"-\infty", False),
        (r"\infty", r"\infty", True),
        ("10^{400}", "10^{401}", False),
    ],
)
def test_numbers(first: str, second: str, equal: bool) -> None:
    assert same(first, second) is equal
    assert same(second, first) is equal
