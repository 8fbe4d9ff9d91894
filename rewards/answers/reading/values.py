"""The last number of a text that marks no answer: read whole, or not at all."""

import re

from rewards.answers.equality.forms import Kind, form_of

_END_CHARS, _TAIL_CHARS = 300, 20_000
"""Looked for at the end, then in more of the text."""
_LONGEST = 60
_SIGN = "[-+\u2212\u2013]"
_SCRIPTS = "\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff"
"""Written without spaces: their characters end a number."""
_CHUNK = re.compile(
    rf"(?:[-\u2212]\s?(?=[$\u20ac\u00a3\u00a5]\d)[$\u20ac\u00a3\u00a5]|[$\u20ac\u00a3\u00a5](?=[-\u2212]\d))?"
    rf"{_SIGN}?(?:(?<![\d.,])\d{{1,3}}(?:[ \u00a0\u202f]\d{{3}})+(?![\d,.]\d|\d)|(?:\d|\.\d)"
    rf"(?:[.,:/^*%\u00b7\u00bc-\u00be\u2150-\u215e\u2070-\u2079\u00b0\u2013-]|[^\W{_SCRIPTS}])*)"
    rf"(?:\s*(?:x|\u00d7|\*|\\times|\\cdot)\s*10\s*\^\s*\{{?{_SIGN}?\d+\}}?)?"
    r"(?:\s+\d+/\d+(?![\d/])|\s+/\s+\d+(?![\d/])"
    r"|\s+(?:thousand|million|billion|trillion)\b|\s?[aApP]\.?[mM]\b\.?)?"
    r"|[-\u2212]?\\[dtc]?frac\s*(?:\{-?\d+\}\s*\{\d+\}|\d\d)"
    r"|[\u00bc-\u00be\u2150-\u215e]"
)
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|"
    r"Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_DATE = re.compile(
    rf"\b{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?\b(?:,?\s+\d{{4}}\b)?"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}(?:,?\s+\d{{4}}\b)?"
)
_LARGER = re.compile(
    r"\d\s*(?:feet|ft|hours?|hrs?|h|pounds?|lbs?|minutes?|mins?|dollars?|years?|months?|weeks?|days?"
    r"|'|\u2032|\u00b0)(?:,?\s+and)?\s+\Z"
)
_SMALLER = re.compile(
    r"\s*(?:inch(?:es)?|in|minutes?|mins?|seconds?|secs?|ounces?|oz|cents?|hours?|days?|weeks?|months?"
    r"|[\"'\u2032\u2033]|[hms])(?!\w)"
)
"""Of a quantity in two units."""
_WORKING = re.compile(
    r"[+*/^_\u00d7\u00b7)\]}{\\\u221a\u00b1]\s*\Z|(?:\d|\b[a-z])\s*[-\u2212]\s*\Z"
    r"|\b(?:minus|negative|sqrt|log|ln|sin|cos|tan|exp)[ ({]*\Z|\broot\s+of\s+\Z"
    r"|\d\s+(?:to|of|out\s+of|in|over|divided\s+by)\s+\Z|\u7b2c\Z"
    r"|\d\s*(?:[~\u2014\u2013\u2026]|\.\.+)\s*\Z"
    r"|\d\s*(?:mod(?:ulo)?|remainder|[rR])\s+\Z|(?:\^\s*\d|[\u00b2\u00b3]|\d[a-z])\s*=\s*\Z"
    r"|[(\[][^()\[\]\n]*\d[^()\[\]\n]*,\s*\Z"
)
_FOLLOWS = re.compile(
    r"\s+(?:squared|cubed|factorial|hundred|mod|modulo|remainder|percentage)\b|"
    r"[\^_(\[{\\\u221a]|[\u4e07\u842c\u5104\u4ebf\u5343\u767e\u5146\u5e74\u6708\u65e5\u65f6\u6642"
    r"\u70b9\u70b9\u5206\u53f7\u865f\u3127\u4e00-\u4e03\uc6d4\uc77c\ub144]"
)
_EDGES = ".,:;*-\u2013_/"
_SEEN_BEFORE, _SEEN_AFTER = 40, 30


def last_value(text: str) -> str | None:
    """The last number, date, time, range or power. Digits within a word are none; None if the last
    is part of an expression, of a point, or of two numbers that say one thing: "3 to 1"."""
    text = text[-_TAIL_CHARS:]
    for began in (max(0, len(text) - _END_CHARS), 0):
        for found in reversed(list(_CHUNK.finditer(text, began))):
            if began and found.start() < began + _LONGEST:
                break  # it may have begun before
            whole, value = _value_at(text, found)
            if whole:
                return value
    return None


def _value_at(text: str, found: re.Match[str]) -> tuple[bool, str | None]:
    """Whether this is a number at all, and not of a word; and the value, if it can be told."""
    start = found.start()
    before = text[max(0, start - _SEEN_BEFORE) : start]
    if _of_a_word(before[-1:]):
        return before[-1:].isdigit(), None
    if date := _date_around(text, start, found.end()):
        return True, date
    chunk = _whole(found[0])
    form = form_of(chunk)
    if form.kind is Kind.WORDS:
        return False, None  # 5th, 3D
    if _WORKING.search(before) or form.kind not in (Kind.NUMBER, Kind.CODE):
        return True, None
    end = start + len(chunk)
    if _FOLLOWS.match(text, end) or (_LARGER.search(before) and _SMALLER.match(text, end)):
        return True, None
    return True, chunk


def _of_a_word(character: str) -> bool:
    return character == "_" or (character.isalnum() and not _unspaced(character))


def _unspaced(character: str) -> bool:
    return re.match(f"[{_SCRIPTS}]", character) is not None


def _whole(chunk: str) -> str:
    """The chunk without punctuation at its end."""
    return chunk.rstrip(_EDGES) if not chunk.endswith("m.") else chunk


def _date_around(text: str, start: int, end: int) -> str | None:
    """The date in words of which these characters are part."""
    began = max(0, start - _SEEN_BEFORE)
    for date in _DATE.finditer(text, began, end + _SEEN_AFTER):
        if date.start() <= start < date.end() and form_of(date[0]).kind is Kind.CODE:
            return date[0]
    return None
