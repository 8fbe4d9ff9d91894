"""What a rollout answers, and when two answers are the same.

One equality serves voting, rewarding and grading: the canonical form. Numbers compare by exact
value, so `1/2`, `0.5` and `\\frac{1}{2}` are one answer; everything else by normalised text.
"""

import re
import unicodedata
from fractions import Fraction

MAX_ANSWER_CHARS = 1_000
"""A longer extracted answer is no answer: it is a runaway generation, and costly to compare."""

_MAX_DIGITS = 400
_BOXED = "\\boxed"
_ANSWER_IS = re.compile(r"answer\s+is\s*:?\s*", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?|[-+]?\.\d+")
_FRACTION = re.compile(r"\\[dt]?frac\{([-+]?\d+)\}\{([-+]?\d+)\}")
_EXACT = re.compile(r"([-+]?)(\d*)(?:\.(\d*))?(?:/(\d+))?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?:\D|$))")
_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}")
_DROPPED = ("\\left", "\\right", "\\!", "\\,", "\\;", "\\ ", "\\$", "$", "\\(", "\\)", "\\[", "\\]")
_MINUS = str.maketrans("\u2212\u2013", "--")


def extract_answer(text: str) -> str | None:
    """The final answer stated in `text`, or None.

    In order: the last closed `\\boxed{…}`, what follows the last "answer is", the last number.
    A `\\boxed{` that never closes means the rollout was cut short: no answer.
    """
    start = text.rfind(_BOXED)
    if start >= 0:
        return _usable(_braced(text, start + len(_BOXED)))
    stated = list(_ANSWER_IS.finditer(text))
    if stated:
        rest = text[stated[-1].end() : stated[-1].end() + MAX_ANSWER_CHARS + 1]
        sentence = re.split(r"\.(?:\s|$)|\n", rest, maxsplit=1)[0]
        return _usable(sentence)
    numbers = _NUMBER.findall(text[-20 * MAX_ANSWER_CHARS :])
    return _usable(numbers[-1]) if numbers else None


def canonical(answer: str) -> str:
    """A string equal for equal answers: the exact value of a number, otherwise tidied text."""
    text = unicodedata.normalize("NFKC", answer).translate(_MINUS)
    for noise in _DROPPED:
        text = text.replace(noise, "")
    text = _TEXT_COMMAND.sub(r"\1", text).strip().rstrip(".").rstrip()
    number = _exact_number(text)
    if number is not None:
        return str(number)
    return re.sub(r"\s+", " ", text).casefold()


def equal(first: str, second: str) -> bool:
    """Whether two answers are the same answer."""
    return canonical(first) == canonical(second)


def _usable(answer: str | None) -> str | None:
    if answer is None:
        return None
    answer = answer.strip()
    if not answer or len(answer) > MAX_ANSWER_CHARS or not canonical(answer):
        return None
    return answer


def _braced(text: str, at: int) -> str | None:
    while at < len(text) and text[at] == " ":
        at += 1
    if at >= len(text) or text[at] != "{":
        return None
    depth = 0
    for end in range(at, min(len(text), at + MAX_ANSWER_CHARS + 2)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[at + 1 : end]
    return None


def _exact_number(text: str) -> Fraction | None:
    text = _FRACTION.sub(r"\1/\2", text)
    text = _THOUSANDS.sub("", text.replace("{,}", ",")).replace(" ", "")
    match = _EXACT.fullmatch(text)
    if match is None or len(text) > _MAX_DIGITS:
        return None
    sign, whole, decimals, denominator = match.groups()
    if not whole and not decimals:
        return None
    value = Fraction(f"{whole or '0'}.{decimals or '0'}")
    if denominator is not None:
        if int(denominator) == 0:
            return None
        value /= int(denominator)
    return -value if sign == "-" else value
