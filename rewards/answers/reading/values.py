"""The last number of a text that marks no answer: read whole, or not at all."""

import re

from rewards.answers.equality.forms import Kind, form_of

_TAIL_CHARS = 20_000
_SIGN = "[-+\u2212\u2013]"
_CHUNK = re.compile(
    rf"{_SIGN}?(?:\d|\.\d)[\w.,:/^*%\u00b7\u00bc-\u00be\u2150-\u215e\u2070-\u2079\u00b0\u2013-]*"
    rf"(?:\s*(?:x|\u00d7|\*|\\times|\\cdot)\s*10\s*\^\s*\{{?{_SIGN}?\d+\}}?)?"
    r"(?:\s+\d+/\d+(?![\d/])|\s+/\s+\d+(?![\d/]))?"
    r"|[\u00bc-\u00be\u2150-\u215e]"
)
_WORKING = re.compile(r"[+*/^_\u00d7\u00b7)\]}\\]\s*\Z|(?:\d|\b[a-z])\s*[-\u2212]\s*\Z")
_EDGES = ".,:;*-\u2013_/"


def last_value(text: str) -> str | None:
    """The last number, date, time, range or power. Digits within a word are none; None if the last
    is part of an expression."""
    text = text[-_TAIL_CHARS:]
    for found in reversed(list(_CHUNK.finditer(text))):
        before = text[max(0, found.start() - 6) : found.start()]
        if before[-1:].isalnum() or before[-1:] == "_":
            if before[-1:].isdigit():
                return None
            continue  # within a word
        chunk = found[0].rstrip(_EDGES)
        form = form_of(chunk)
        if form.kind is Kind.WORDS:
            continue  # 5th, 3D
        if _WORKING.search(before) or form.kind not in (Kind.NUMBER, Kind.CODE):
            return None
        follows = text[found.start() + len(chunk) :][:1]
        return None if follows and follows in "^_([{\\" else chunk
    return None
