"""Detects prompts that are nearly the same: cheap, and rather too strict than too lax.

A copy with other case, spacing or punctuation, with invisible characters or look-alikes of other
alphabets, or a long text with a few words changed or others around it, is nearly the same.
Questions with other numbers or signs are not, however alike their words: "What is 12+7?" is neither
"What is 12+8?" nor "What is 12-7?". Those are variants of each other.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

SIMILAR = 0.8
"""Least Jaccard index of two prompts' word pairs. "What is the capital of France?" and the same of
Spain have 0.5; two texts of 25 words that differ in one have 0.85."""
CONTAINED, _LONG = 0.9, 8
"""Least share of a prompt's word pairs that a longer one has too if it only adds to it, and the
least of them: of a few words, any text has most."""

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\s\w]|_")
_SIGNS = frozenset("+*/^=<>%|~_\\")
_SIGNS_AT_NUMBERS = frozenset("-!")
_BRACKETS = frozenset("()[]{}")
_MARKS = (0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE00, 0xFE2F)
"""Combining marks of Latin, Greek and Cyrillic, and variation selectors: accents, not letters."""
_STROKES = frozenset({0x337, 0x338})
"""Through a sign they make it another: ≠."""
_REMOVED = {
    code: None for first, last in _MARKS for code in range(first, last + 1) if code not in _STROKES
}
_LOOK_ALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u051d\u04bb\u043a\u043c\u0442\u043d\u0432\u0433"
    "\u03b1\u03bf\u03b5\u03b9\u03ba\u03bd\u03c1\u03c4\u03c5\u03c7\u03b3\u0131\u0261\u0251\u1d0f\u026a\u0280\u1d00\u1d07\u1d1b\u0274",
    "aeopcyxijsdqwhkmthbraoeikvptuxyigaoiraetn",
)
"""Letters that look like Latin ones: Cyrillic, Greek, phonetic (Unicode TR 39, the common ones)."""


@dataclass(frozen=True, slots=True)
class PromptPrint:
    """A prompt for comparison: its word pairs, and its numbers and signs in order."""

    pairs: frozenset[tuple[str, str]]
    numbers: tuple[str, ...]

    @staticmethod
    def of(prompt: str) -> "PromptPrint":
        """Of a group's prompt; of all that was said before the answer, but for the system's
        message, if it is a JSON chat."""
        tokens: list[str] = _TOKEN.findall(_plain("\n".join(_said(prompt))))
        words = [token for token in tokens if token[0].isalpha()]
        numbers = tuple(t for at, t in enumerate(tokens) if _counts(tokens, at))
        return PromptPrint(frozenset(pairwise([*words, ""])), numbers)

    def like(self, other: "PromptPrint") -> bool:
        """Whether the two prompts are nearly the same."""
        if self.numbers == other.numbers and self.variant_of(other):
            return True
        less, more = sorted((self, other), key=lambda one: len(one.pairs))
        enough = len(less.pairs & more.pairs) >= CONTAINED * max(_LONG, len(less.pairs))
        return enough and _within(less.numbers, more.numbers)

    def variant_of(self, other: "PromptPrint") -> bool:
        """Whether the two are nearly the same but for their numbers and signs."""
        common, either = len(self.pairs & other.pairs), len(self.pairs | other.pairs)
        return common >= SIMILAR * either


def _plain(text: str) -> str:
    """A text in one case, without what cannot be seen, and with look-alikes as what they look
    like."""
    if text.isascii():
        return text.casefold()
    seen = (c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) != "Cf")
    folded = "".join(seen).translate(_REMOVED).casefold()
    return unicodedata.normalize("NFKC", folded.translate(_LOOK_ALIKES))


def _within(less: Sequence[str], more: Sequence[str]) -> bool:
    """Whether `more` is `less` with others before, between or after."""
    left = iter(more)
    return all(token in left for token in less)


def _counts(tokens: list[str], at: int) -> bool:
    """Whether a token is a number or a sign that changes the question."""
    token = tokens[at]
    if token in _SIGNS_AT_NUMBERS:  # a hyphen or an exclamation mark elsewhere
        beside = [*tokens[max(0, at - 1) : at], *tokens[at + 1 : at + 2]]
        return any(t[0].isdigit() or t in _BRACKETS for t in beside)
    return token[0].isdigit() or token in _SIGNS or unicodedata.category(token[0]) == "Sm"


def _said(prompt: str) -> Iterator[str]:
    """The texts of a chat, or the prompt as it is."""
    try:
        messages: Any = orjson.loads(prompt)
        contents = [m.get("content") or "" for m in messages if m["role"] not in _INSTRUCTING]
        texts = [c if isinstance(c, str) else "\n".join(p["text"] for p in c) for c in contents]
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        yield prompt
    else:
        yield from texts or [prompt]


_INSTRUCTING = ("system", "developer")
"""Whose messages are the same in all of an application's questions."""
