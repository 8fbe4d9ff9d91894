from fractions import Fraction

import pytest

from rewards.answers.equality.quantities import quantity


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("5 meters per second", "m/s"),
        ("5 m/s^{2}", "m/s^2"),
        ("5 square meters", "m^2"),
        ("5 meters cubed", "m^3"),
        ("5 kg*m/s", "kg*m/s"),
        ("5 kg\u00b7m/s", "kg*m/s"),
        ("5 miles per hour", "mph"),
        ("5 degrees Celsius", "\u00b0C"),
        ("5 in", "inch"),
        ("5 boxes", "boxe"),
        ("5 box", "boxe"),
        ("5 cherry", "cherrie"),
        ("5 days", "day"),
        ("5 glass", "glasse"),
        ("5 prime numbers", "prime number"),
        ("5 apples", "apple"),
    ],
)
def test_units_in_one_form(text: str, unit: str) -> None:
    assert quantity(text) == (Fraction(5), unit)


@pytest.mark.parametrize(
    "rest",
    ["hundredths", "ninths", "twentieths", "hundreds", "millions", "billionths", "nines", "thirty",
     "five", "fives", "fifties", "lakh", "grand", "Millionen", "milliards", "millones", "tausend",
     "octal", "binary", "decades", "negative", "prime", "incorrect", "fewer", "loss", "below",
     "under", "clockwise"],
)  # fmt: skip
def test_words_that_change_a_number_are_not_counted(rest: str) -> None:
    assert quantity(f"5 {rest}") is None


@pytest.mark.parametrize("rest", ["below zero", "under par", "point five", "million five"])
def test_nor_are_several(rest: str) -> None:
    assert quantity(f"5 {rest}") is None


def test_a_decimal_that_repeats() -> None:
    assert quantity(r"0.1\overline{6}") == (Fraction(1, 6), "")
    assert quantity(r"-2.\overline{12}") == (Fraction(-70, 33), "")
