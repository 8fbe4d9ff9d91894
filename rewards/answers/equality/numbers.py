"""Numbers by exact value, however they are written; never a float."""

import re
from fractions import Fraction

_MAX_CHARS = 1_000
_MAX_BITS = 8_192
_SIGNIFICANT = 6
_FRACTION = re.compile(
    r"([-+]?)\s*(\d*)\s*\\[dtc]?frac\s*(?:\{([-+]?\d+)\}\s*\{([-+]?\d+)\}|(\d)\s*(\d))"
)
_REPEATING = re.compile(r"([-+]?)\s*(\d*)\.(\d*)\s*\\(?:overline|bar)\s*\{(\d+)\}")
_MIXED = re.compile(r"([-+]?)\s*(\d+)\s+(\d+)\s*/\s*(\d+)")
_EXACT = re.compile(r"([-+]?)\s*(\d*)(?:\.(\d*))?\s*(?:/\s*([-+]?\d+))?")
_TIMES_TEN = re.compile(
    r"(?:(?<=[\d.])[eE]|\s*(?:\\times|\\cdot|[*x\u00d7\u22c5\u00b7])\s*10\s*(?:\^|\*\*))\s*"
    r"\{?([-+]?\d{1,3})\}?\Z"
)
_POWER = re.compile(r"([-+]?)\s*(\d+)\s*(?:\^|\*\*)\s*(?:\{([-+]?\d+)\}|([-+]?\d+))")
_GROUPED = re.compile(
    r"(?<![\d.,])[1-9]\d{0,2}(?:(?:,\d{3})+|(?: \d{3})+|(?:'\d{3})+)(?![\d,'])"
    r"|(?<![\d.,])[1-9]\d?(?:,\d\d)+,\d{3}(?![\d,])"
)
_COMMA_LAST = re.compile(r"([-+]?[1-9]\d{0,2}(?:\.\d{3})+),(\d+)")


def exact_number(text: str) -> Fraction | None:
    """The value of an integer, a decimal that may repeat, a fraction, a mixed number, a power of
    whole numbers or a power-of-ten form; None for anything else."""
    if len(text) > _MAX_CHARS or not any(c.isdigit() for c in text):
        return None
    if match := _FRACTION.fullmatch(text):
        sign, whole, *parts = match.groups()
        numerator, denominator = (int(part) for part in parts if part is not None)
        if not denominator:
            return None
        return _signed(sign, int(whole or 0) + Fraction(numerator, denominator))
    if match := _REPEATING.fullmatch(text):
        sign, whole, once, again = match.groups()
        repeated = Fraction(int(again), (10 ** len(again) - 1) * 10 ** len(once))
        return _signed(sign, Fraction(f"{whole or '0'}.{once or '0'}") + repeated)
    if match := _MIXED.fullmatch(text):
        whole, numerator, denominator = map(int, match.groups()[1:])
        if 0 < numerator < denominator and not (len(match[3]) == 3 and len(match[2]) < 4):
            return _signed(match[1], whole + Fraction(numerator, denominator))
    if match := _POWER.fullmatch(text):
        return _power(match[1], int(match[2]), int(match[3] or match[4]))
    if match := _COMMA_LAST.fullmatch(text):
        return Fraction(f"{match[1].replace('.', '')}.{match[2]}")
    return _decimal(text)


def half_unit(text: str) -> Fraction | None:
    """Half a unit of a decimal's last place, if it has so many digits that it may be rounded."""
    _, point, decimals = text.partition(".")
    if not point or not decimals.isdigit() or len(decimals) < _SIGNIFICANT:
        return None
    if len(text.lstrip("-+0.").replace(".", "").replace(",", "")) < _SIGNIFICANT:
        return None
    return Fraction(1, 2 * 10 ** len(decimals))


def _decimal(text: str) -> Fraction | None:
    if power := _TIMES_TEN.search(text):
        text = text[: power.start()]
    plain = _GROUPED.sub(lambda run: re.sub("[, ']", "", run[0]), text.replace("{,}", ","))
    match = _EXACT.fullmatch(plain)
    if match is None:
        return None
    sign, whole, decimals, denominator = match.groups()
    if not whole and not decimals:
        return None
    value = Fraction(f"{whole or '0'}.{decimals or '0'}")
    if denominator is not None:
        if int(denominator) == 0:
            return None
        value /= int(denominator)
    if power is not None:
        value *= Fraction(10) ** int(power[1])
    return _signed(sign, value)


def _power(sign: str, base: int, exponent: int) -> Fraction | None:
    if base.bit_length() * abs(exponent) > _MAX_BITS or (base == 0 and exponent <= 0):
        return None
    return _signed(sign, Fraction(base) ** exponent)


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value
