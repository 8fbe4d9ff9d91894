"""The cheap half of equality: one form for answers that are plainly the same.

Numbers compare by exact value, so `1/2`, `0.5` and `\\frac{1}{2}` have one form; option letters by
letter; everything else by normalised text. `rewards.answers.math_answers` has the rest judged.
"""

import re
import unicodedata
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from fractions import Fraction
from functools import lru_cache

_MAX_NUMBER_CHARS = 400
_ROUNDED_PLACES = 6
_FRACTION = re.compile(
    r"([-+]?)\s*(\d*)\s*\\[dtc]?frac\s*(?:\{([-+]?\d+)\}\s*\{([-+]?\d+)\}|(\d)\s*(\d))"
)
_EXACT = re.compile(r"([-+]?)\s*(\d*)(?:\.(\d*))?\s*(?:/\s*([-+]?\d+))?")
_POWER = re.compile(r"(?:[eE]|\s*(?:\\times|\\cdot|\*)\s*10\s*(?:\^|\*\*))\{?([-+]?\d{1,3})\}?\Z")
_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3}|[ ]\d{3})+(?![\d,])")
_TEXT_COMMAND = re.compile(r"\\(?:text(?:bf|it|rm)?|textnormal|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_DROPPED = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\[!,;:() \[\]$]|\$|\*\*")
_OPTION = re.compile(r"\(([A-Ja-j])\)|([A-Ja-d])|\(?([A-J])[).:]\s.*", re.DOTALL)
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ '-][^\W\d_]+)*")
_CONSTANTS = frozenset({"pi", "inf", "infty", "infinity", "oo"})
_SUPERSCRIPTS = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")
_PUNCTUATION = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2044": "/", "\u00d7": "*"})


class Kind(Enum):
    """What an answer is, judged by its form."""

    NUMBER = "number"
    OPTION = "option"
    WORDS = "words"
    EXPRESSION = "expression"


@dataclass(frozen=True, slots=True)
class Form:
    """`text` is the same for plainly equal answers; `source` is the answer in plain characters.

    `value`: of a number. `rounded`: half a unit of its last decimal place, if it has so many that
    it may be rounded.
    """

    kind: Kind
    text: str
    source: str
    _: KW_ONLY
    value: Fraction | None = None
    rounded: Fraction | None = None


@lru_cache(maxsize=16_384)
def form_of(answer: str) -> Form:
    """The form of one answer; its text is empty for mere layout."""
    source = _ascii_digits(answer).strip()
    text = _TEXT_COMMAND.sub(r"\1", _DROPPED.sub("", source)).strip().rstrip(".").rstrip()
    number = _exact_number(text)
    if number is not None:
        return Form(Kind.NUMBER, str(number), source, value=number, rounded=_half_unit(text))
    if option := _OPTION.fullmatch(text):
        return Form(Kind.OPTION, option[option.lastindex or 0].upper(), source)
    plain = re.sub(r"\s+", " ", text).casefold()
    is_words = plain not in _CONSTANTS and _WORDS.fullmatch(text) is not None
    return Form(Kind.WORDS if is_words else Kind.EXPRESSION, plain, source)


def plainly_equal(first: Form, second: Form) -> bool | None:
    """Whether two answers are the same; None if that takes mathematics.

    A decimal of at least six places equals whatever rounds to it: `0.333333` is `1/3`.
    """
    if first.text == second.text:
        return True
    kinds = {first.kind, second.kind}
    if Kind.EXPRESSION in kinds and Kind.OPTION not in kinds:
        return None
    if first.value is None or second.value is None:
        return False
    slack = max(first.rounded or Fraction(0), second.rounded or Fraction(0))
    return abs(first.value - second.value) <= slack


def _ascii_digits(answer: str) -> str:
    """NFKC with exponents kept as such, and ASCII for every script's digits and minus signs."""
    if answer.isascii():
        return answer
    raised = _SUPERSCRIPTS.sub(lambda run: "^" + unicodedata.normalize("NFKC", run[0]), answer)
    text = unicodedata.normalize("NFKC", raised).translate(_PUNCTUATION)
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def _half_unit(text: str) -> Fraction | None:
    _, point, decimals = text.partition(".")
    if not point or not decimals.isdigit() or len(decimals) < _ROUNDED_PLACES:
        return None
    return Fraction(1, 2 * 10 ** len(decimals))


def _exact_number(text: str) -> Fraction | None:
    """The value of an integer, a decimal, a fraction, a mixed number or a power-of-ten form."""
    if len(text) > _MAX_NUMBER_CHARS:
        return None
    if match := _FRACTION.fullmatch(text):
        sign, whole, *parts = match.groups()
        numerator, denominator = (int(part) for part in parts if part is not None)
        if not denominator:
            return None
        value = int(whole or 0) + Fraction(numerator, denominator)
        return -value if sign == "-" else value
    if power := _POWER.search(text):
        text = text[: power.start()]
    plain = _GROUPED.sub(lambda run: re.sub("[, ]", "", run[0]), text.replace("{,}", ","))
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
    return -value if sign == "-" else value
