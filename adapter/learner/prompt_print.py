"""Detects prompts that are nearly the same: cheap, and rather too strict than too lax.

A copy with other case, spacing or punctuation, or a long text with a few words changed, is nearly
the same. Questions with other numbers or signs are not, however alike their words: "What is 12+7?"
is neither "What is 12+8?" nor "What is 12-7?".
"""

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

SIMILAR = 0.8
"""Least Jaccard index of two prompts' word pairs. "What is the capital of France?" and the same of
Spain have 0.5; two texts of 25 words that differ in one have 0.85."""

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\s\w]|_")
_SIGNS = frozenset("+*/^=<>%|~_\\")
_SIGNS_AT_NUMBERS = frozenset("-!")
_BRACKETS = frozenset("()[]{}")


@dataclass(frozen=True, slots=True)
class PromptPrint:
    """A prompt for comparison: its word pairs, and its numbers and signs in order."""

    pairs: frozenset[tuple[str, str]]
    numbers: tuple[str, ...]

    @staticmethod
    def of(prompt: str) -> "PromptPrint":
        """Of a group's prompt; of the last user message if it is a JSON chat."""
        text = unicodedata.normalize("NFKC", _last_question(prompt)).casefold()
        tokens: list[str] = _TOKEN.findall(text)
        words = [token for token in tokens if token[0].isalpha()]
        numbers = tuple(t for at, t in enumerate(tokens) if _counts(tokens, at))
        return PromptPrint(frozenset(pairwise([*words, ""])), numbers)

    def like(self, other: "PromptPrint") -> bool:
        """Whether the two prompts are nearly the same."""
        if self.numbers != other.numbers:
            return False
        common, either = len(self.pairs & other.pairs), len(self.pairs | other.pairs)
        return common >= SIMILAR * either


def _counts(tokens: list[str], at: int) -> bool:
    """Whether a token is a number or a sign that changes the question."""
    token = tokens[at]
    if token in _SIGNS_AT_NUMBERS:  # a hyphen or an exclamation mark elsewhere
        beside = [*tokens[max(0, at - 1) : at], *tokens[at + 1 : at + 2]]
        return any(t[0].isdigit() or t in _BRACKETS for t in beside)
    return token[0].isdigit() or token in _SIGNS or unicodedata.category(token[0]) == "Sm"


def _last_question(prompt: str) -> str:
    try:
        messages: Any = orjson.loads(prompt)
        content = [m["content"] for m in messages if m["role"] == "user"][-1]
        return content if isinstance(content, str) else "\n".join(part["text"] for part in content)
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return prompt
