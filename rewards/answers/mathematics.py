"""Mathematical equality as math-verify reads and compares answers, without a time limit:
`rewards.answers.math_judge` runs it where it can be killed."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

from rewards.answers.equality.shapes import by_place, may_be_one, said

_BRACED = re.compile(r"\{[^{}]*,[^{}]*\}")
_EXACT_DIGITS = 320
"""So many decide whether two numbers without decimals are one."""
_COMMAND, _LETTER = re.compile(r"\\+(?:begin|end)\{\w+\}|\\+[a-zA-Z]+"), re.compile(r"[a-zA-Z]")
_FUNCTION = re.compile(
    r"(?:sin|cos|tan|sec|csc|cot|log|ln|exp|sqrt|pi|and|or|mod|inf|infty|infinity)(?![a-z])"
)
_SEVERAL = re.compile(r"[,;]|\\pm|and|or")
_RELATION = re.compile(r"[=<>:]|\\(?:le|ge|lt|gt|ne|in|approx|equiv|pm|mp|to)")
_DEGREES = r"\^\{?\\circ(?![a-z])\}?|\\(?:degree|circ)(?![a-z])|\u00b0"
_DROPPED = re.compile(rf"{_DEGREES}|\\[lc]?dots(?![a-z])|\.\.\.")
_LAST_DEGREES = re.compile(rf"(?:{_DEGREES})\Z")
_ANGLE = re.compile(r"sin|cos|tan|sec|csc|cot")
_CONGRUENT = re.compile("\\\\[bp]?mod|\\\\equiv|\u2261|(?<![a-z])mod(?![a-z])")
_AND, _OR = re.compile(r"\band\b"), re.compile(r"\bor\b")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d{2,}")


def comparable(first: str, second: str) -> bool:
    """Whether math-verify may compare them. It would accept, in one direction, a set for a pair,
    for a value any equation with it on the right (`2x + 1 = 5`; `x = 5` and `|AB| = 5` are right),
    and would drop degrees, moduli and dots."""
    for one, other in ((first, second), (second, first)):
        if other.startswith("\\{") and (one.startswith("(") or not _SEVERAL.search(one + other)):
            return False
        if _AND.search(one) and _OR.search(other):
            return False
    if first.count("'") != second.count("'") or _left_out(first) != _left_out(second):
        return False
    one, other = _names(first), _names(second)
    if {name.lower() for name in one - other} & {name.lower() for name in other - one}:
        return False  # it would take `P` for `p`
    letters = one ^ other if not _RELATION.search(first + second) else set[str]()
    if any(len(name) == 1 for name in letters):
        return False  # and `5m` for `5`: it drops what may be a unit
    one_said, other_said = said(first), said(second)
    return may_be_one(one_said, other_said) and all(
        equivalent(expressions_in(this), expressions_in(that))
        for this, that in by_place(one_said, other_said)
        if this != that
    )


def _left_out(answer: str) -> tuple[list[str], str]:
    """What math-verify leaves out: degrees within an expression, dots, and all of a congruence."""
    text = answer.replace(" ", "")
    inside = _LAST_DEGREES.sub("", text) if not _ANGLE.search(text) else text
    return sorted(_DROPPED.findall(inside)), (text if _CONGRUENT.search(text) else "")


def _names(answer: str) -> set[str]:
    """Letters, and commands without their backslash."""
    found = {name.lstrip("\\") for name in _COMMAND.findall(answer)}
    words = _FUNCTION.sub(" ", _COMMAND.sub(" ", answer))
    return {name for name in found if len(name) > 1} | set(_LETTER.findall(words))


@lru_cache(maxsize=1_024)
def expressions_in(answer: str) -> Sequence[Any]:
    """Expressions that math-verify parses from an answer, as LaTeX or else as plain text."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    # 0 seconds turns off its own time limit.
    if _BRACED.fullmatch(answer):  # LaTeX's own braces group and do not make a set
        answer = f"({answer[1:-1]})"
    latex = f"${answer}$", [LatexExtractionConfig()]
    plain = answer, [ExprExtractionConfig()]
    for text, reading in (plain, latex) if _DECIMAL_COMMA.fullmatch(answer) else (latex, plain):
        if found := cast("list[Any]", parse(text, reading, parsing_timeout=0)):
            return found
    return []


def equivalent(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether math-verify accepts either for the other; its own relation is not symmetric."""
    from math_verify import verify

    one, other = list(first), list(second)
    if _numbers_apart(one, other):
        return False
    return verify(one, other, timeout_seconds=0) or verify(other, one, timeout_seconds=0)


def _numbers_apart(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether both are numbers that plainly differ: a cheap no, without simplification, and an
    exact one for numbers so small or so large that math-verify takes them for each other.

    Percentages are left to math-verify, which accepts `10%` for 10 as well as for 0.1.
    """
    for reading in (first, second):
        if not reading or "%" in str(reading[-1]) or not getattr(reading[0], "is_number", False):
            return False
    one, other = first[0].evalf(15), second[0].evalf(15)
    if not (one.is_finite and other.is_finite):
        return False
    apart, larger = abs(one - other), max(abs(one), abs(other))
    if first[0].has(_float()) or second[0].has(_float()) or apart > 1e-5 * larger:
        return bool(apart > 1e-5 * larger)
    rest = abs((first[0] - second[0]).evalf(15, maxn=_EXACT_DIGITS))
    return bool(rest > larger * 10 ** _float()(20 - _EXACT_DIGITS))


def _float() -> Any:
    from sympy import Float

    return Float
