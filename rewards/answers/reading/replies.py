"""Whole replies that are answers themselves: a number, a letter, a few words."""

import re

from rewards.answers.equality.codes import telephone
from rewards.answers.equality.forms import Form, Kind, form_of
from rewards.answers.reading.languages import marks
from rewards.answers.reading.statements import block_at, usable

_MAX_CHARS = 120
_MAX_WORDS = 6
_MAX_WORDS_WITH_DIGITS = 3
_LETTER_LINE = re.compile(r"[\s*_]*\(?([A-J])[).]?[\s*_.]*")
_LABELLED = re.compile(r"\(?([A-J])\)\s+\S[^\n]*")
_PROGRAM = re.compile(
    r"[;{}]|\(\)|=>|->|::|==|!=|&&|\|\||</|/>|\+=|#include|\b(?:def|class|return|import|print\w*|"
    r"console|let|var|const|func|SELECT|INSERT|fn|void|elif|lambda)\b"
)
_SENTENCE = re.compile(
    r"(?:so\s+|thus,?\s+|hence,?\s+|therefore,?\s+)?"
    r"(?P<subject>it|that|this|there|the\s+[^.!?;:,]{1,60}?|its\s+[^.!?;:,]{1,40}?"
    r"|[\w-]+'s\s+[\w -]{1,40}?)"
    r"\s+(?P<verb>is|was|are|were|equals|takes|costs|weighs|has|measures)\s+"
    r"(?:on\s+|in\s+|at\s+|about\s+|approximately\s+|exactly\s+)?(?P<value>.+)",
    re.IGNORECASE | re.DOTALL,
)
_VERB = re.compile(r"\b(?:is|was|are|were|equals|takes|costs|weighs|has|measures)\b", re.IGNORECASE)
"""A second one: the sentence states two things."""
_DENIED = re.compile(
    r"\b(?:not|no|never|neither|nor|least|except|without|isn't|wasn't)\b|n't\b", re.I
)
_NAME = re.compile(r"(?:[A-Z][\w'.-]*)(?:\s+(?:of\s+|de\s+|la\s+|the\s+)?[A-Z][\w'.-]*){0,3}")
_VALUES = (Kind.NUMBER, Kind.CODE)


def whole_value(reply: str) -> str | None:
    """A whole reply that is a number, a date or the like, an expression, or an option; or the
    option letter that stands alone on the last line."""
    text = _content(reply)
    form = form_of(text) if 0 < len(text) <= _MAX_CHARS and "\n" not in text else None
    if form is not None and "=" not in text and form.kind is not Kind.WORDS:
        return form.text if form.kind is Kind.OPTION else usable(text)
    if letter := _LETTER_LINE.fullmatch(reply.rstrip().rpartition("\n")[2]):
        return letter[1]
    return None


def short_reply(reply: str) -> str | None:
    """A whole reply of a few words, or what a reply of one short sentence states: `Tokyo` of "The
    capital of Japan is Tokyo." Prose with digits, programs and telephone numbers are none."""
    text = _content(reply)
    if not 0 < len(text) <= _MAX_CHARS or "\n" in text:
        return None
    form = form_of(text)
    if telephone(form.source.rstrip(".")):
        return None
    if form.kind is Kind.OPTION:
        return form.text
    if _PROGRAM.search(text) and form.kind is not Kind.EXPRESSION:
        return None
    if form.kind is not Kind.WORDS:
        return usable(text)
    if (stated := _stated(text)) is not None:
        return stated
    return _few_words(text, form)


def _few_words(text: str, form: Form) -> str | None:
    if any(marks(text)):
        return None  # what it says of an answer is not the answer
    words = text.split()
    most = _MAX_WORDS_WITH_DIGITS if any(c.isdigit() for c in text) else _MAX_WORDS
    if len(words) > most or any(telephone(word.rstrip(".,")) for word in words):
        return None
    unspaced = max(sum(ord(c) > 0x2E7F for c in word) for word in words)
    if unspaced > 3 * _MAX_WORDS or (re.search(r"[.!?](?:\s|$).*\w", form.text) and len(words) > 3):
        return None
    return usable(text)


def _stated(text: str) -> str | None:
    """What a short sentence says of its subject: a name or a value, not a description."""
    match = _SENTENCE.fullmatch(text.rstrip(".! "))
    if match is None or len(text.split()) > 2 * _MAX_WORDS or _DENIED.search(text):
        return None
    value = match["value"].strip().strip('*_`"')
    form = form_of(value)
    if telephone(form.source) or _DENIED.search(value) or _VERB.search(value):
        return None
    if form.kind in _VALUES or (form.kind is Kind.EXPRESSION and any(c.isdigit() for c in value)):
        return usable(value)
    is_the = match["subject"].lower().startswith(("the ", "its ")) or "'s " in match["subject"]
    return usable(value) if is_the and _NAME.fullmatch(value) else None


def _content(reply: str) -> str:
    """The reply without space around it, its fence or display mathematics."""
    text = reply.strip()
    block = block_at(text, 0)
    if block is None:
        return text.strip("*_ ") if text.count("**") < 4 else text
    closing = text.endswith(("```", "\\]", "$$", "\\)"))
    return block.strip() if closing and len(block) + 24 > len(text) else text
