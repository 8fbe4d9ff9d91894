"""The cheap half of equality: one form for answers that are plainly the same.

Numbers compare by exact value and unit, dates and other codes by one text each, option letters by
letter, words by tidied text. What is left are expressions, which `rewards.answers.math_answers` has
judged. Where equality is not certain, answers differ.
"""

import re
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from fractions import Fraction

from rewards.answers.equality.codes import code
from rewards.answers.equality.layout import plain_characters, without_layout
from rewards.answers.equality.numbers import half_unit
from rewards.answers.equality.options import option_letter, several_parts
from rewards.answers.equality.quantities import PERCENT, quantity, unit_of
from rewards.answers.equality.shapes import bare_name
from rewards.answers.equality.symbols import mathematical, source_of
from rewards.answers.equality.words import tidied
from rewards.answers.remembered import remembered

_NAMED = re.compile(r"([^=<>]*?)\s*(?<![<>!:])=\s*([^=<>]*)")
_ONE_LETTER_UNIT = re.compile(r"(?<=[\d)}\]]) [A-Za-z]|(?<=\\pi) [A-Za-z]")
_LETTERS_LAST = re.compile(r"(?:\d|\\pi)\s*[A-Za-z]+\Z")
_ITEM = re.compile(r"[-+\deE./\s]+")

_MAX_CHARS = 4_000
"""In plain characters: what is longer is neither a number nor mathematics, and the same only if it
is written alike."""


class Kind(Enum):
    """What an answer is, judged by its form."""

    NUMBER = "number"
    CODE = "code"
    OPTION = "option"
    WORDS = "words"
    EXPRESSION = "expression"


@dataclass(frozen=True, slots=True)
class Form:
    """`text` is the same for plainly equal answers; `source` is the answer in plain characters.

    `value`: of a number; `unit`: of a number or an expression; both, and `name`, of an equation as
    `x = 5 cm`. `rounded`: half a unit of its last decimal place, if it has so many that it may be
    rounded. `is_list`: a list of numbers.
    """

    kind: Kind
    text: str
    source: str
    _: KW_ONLY
    value: Fraction | None = None
    unit: str = ""
    name: str = ""
    rounded: Fraction | None = None
    is_list: bool = False


class Sameness(Enum):
    """How two forms are found to be the same."""

    CERTAIN = 2
    LOOSE = 1
    """A number with a unit and the same one without: true unless another unit is about."""


@remembered(most=8_192, longest=500)
def form_of(answer: str) -> Form:
    """The form of one answer; its text is empty for mere layout."""
    source = plain_characters(answer).strip()
    if len(source) > _MAX_CHARS:
        return Form(Kind.WORDS, " ".join(source.split()), source)
    text = without_layout(source)
    found = quantity(text)
    if found is not None:
        value, unit = found
        shown = f"{value} {unit}" if unit else str(value)
        rounded = half_unit(text) if not unit else None
        return Form(Kind.NUMBER, shown, source_of(source), value=value, unit=unit, rounded=rounded)
    if (one := code(text)) is not None:
        return Form(Kind.CODE, one, source)
    if (equation := _equation(text, source)) is not None:
        return equation
    if letter := option_letter(text):
        return Form(Kind.OPTION, letter, source)
    if measured := _measured(text):
        expression, unit = measured
        shown = expression if expression == text else f"{expression} {unit}"
        return Form(Kind.EXPRESSION, shown, source_of(expression), unit=unit)
    if several_parts(text) or not mathematical(text):
        return Form(Kind.WORDS, tidied(text), source)
    items = _items(text)
    return Form(Kind.EXPRESSION, items or text, source_of(source), is_list=bool(items))


def plainly_equal(first: Form, second: Form) -> bool | None:
    """Whether two answers are the same; None if that takes mathematics.

    A decimal of at least six digits equals whatever rounds to it: `0.333333` is `1/3`.
    """
    if first.text == second.text:
        return True
    kinds = {first.kind, second.kind}
    if Kind.EXPRESSION in kinds and kinds <= {Kind.EXPRESSION, Kind.NUMBER}:
        return False if _apart(first, second) or _both_lists(first, second) else None
    return sameness(first, second) is not None


def sameness(first: Form, second: Form) -> Sameness | None:
    """How two forms are the same without mathematics; None if they are not."""
    if first.text == second.text:
        return Sameness.CERTAIN
    if first.value is None or second.value is None:
        return None
    if first.unit == second.unit:
        slack = max(first.rounded or 0, second.rounded or 0)
        return Sameness.CERTAIN if abs(first.value - second.value) <= slack else None
    if first.unit and second.unit:
        return None
    measured, bare = (first, second) if first.unit else (second, first)
    assert measured.value is not None and bare.value is not None
    if measured.unit == PERCENT and measured.value == 100 * bare.value:
        return Sameness.CERTAIN
    return Sameness.LOOSE if measured.value == bare.value else None


def _equation(text: str, source: str) -> Form | None:
    """What says of one name which number or code it is; None for anything else."""
    named = _NAMED.fullmatch(text)
    name = bare_name(named[1]) if named else None
    if named is None or name is None:
        return None
    found = quantity(named[2])
    if found is None:
        one = code(named[2])
        return None if one is None else Form(Kind.CODE, one, source)
    value, unit = found
    rounded = half_unit(named[2]) if not unit else None
    equation = f"{named[1]} = {value}"
    if rounded or not mathematical(equation):
        equation = source if mathematical(text) else f"x = {value}"
    return Form(
        Kind.EXPRESSION,
        f"{name} = {value} {unit}".rstrip(),
        source_of(equation),
        value=value,
        unit=unit,
        name=name,
        rounded=rounded,
    )


def _apart(first: Form, second: Form) -> bool:
    """Whether two expressions plainly differ: in their unit, in what they are said of, in value."""
    if first.unit and second.unit and first.unit != second.unit:
        return True
    if first.name and second.name and first.name != second.name:
        return True
    if first.value is not None and second.value is not None:
        return sameness(first, second) is None
    if bool(first.unit) == bool(second.unit):
        return False
    return _LETTERS_LAST.search((second if first.unit else first).text) is not None


def _measured(text: str) -> tuple[str, str] | None:
    """An expression and the unit after it, if that is a known one. A single letter may be a
    variable, so it stays in the expression too."""
    expression, _, name = text.rpartition(" ")
    expression = expression.strip()
    unit = unit_of(name)
    if unit is None or not mathematical(expression):
        return None
    if len(name) > 1:
        return expression, unit
    return (text, unit) if _ONE_LETTER_UNIT.fullmatch(text, len(text) - 2) else None


def _items(text: str) -> str | None:
    """A list of plain numbers in one form; None for anything else. Its order counts: it may have
    been asked for."""
    opening = text[:1] if text.startswith(("(", "[")) else ""
    closing = text[-1:] if text.endswith((")", "]")) else ""
    values: list[str] = []
    for part in text[len(opening) : len(text) - len(closing)].split(","):
        found = quantity(part.strip()) if _ITEM.fullmatch(part) else None
        if found is None or found[1]:
            return None
        values.append(str(found[0]))
    return f"{opening}{', '.join(values)}{closing}"


def _both_lists(first: Form, second: Form) -> bool:
    """Whether both are lists of numbers, bracketed alike."""
    if not (first.is_list and second.is_list):
        return False
    bracketed = [form.text[0] in "([" for form in (first, second)]
    return bracketed[0] == bracketed[1]
