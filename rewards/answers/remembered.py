"""Caches whose room is bounded, however long the texts are that strangers make them remember."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")

_GROWTH = 10
"""Characters that one which is not ASCII is taken for: it has up to four bytes, and becomes up to
18 characters in plain ones (U+FDFA under NFKC)."""


def remembered(most: int, longest: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Remembers what a function of a text returns for the last `most` texts, unless they have more
    than `longest` characters, or a tenth of that where they are not ASCII."""

    def decorate(function: Callable[[str], T]) -> Callable[[str], T]:
        short = lru_cache(maxsize=most)(function)

        @wraps(function)
        def call(text: str) -> T:
            size = len(text) if text.isascii() else _GROWTH * len(text)
            return short(text) if size <= longest else function(text)

        return call

    return decorate
