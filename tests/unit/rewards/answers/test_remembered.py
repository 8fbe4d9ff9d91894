"""Caches that strangers fill."""

import tracemalloc
from collections.abc import Callable

import pytest

from rewards.answers.equality.forms import form_of
from rewards.answers.remembered import remembered
from rewards.answers.structured.canonical_json import canonical_or_none


def test_short_texts_are_remembered_and_long_ones_are_not() -> None:
    asked: list[str] = []

    @remembered(most=2, longest=10)
    def shout(text: str) -> str:
        """Louder."""
        asked.append(text)
        return text.upper()

    for text in ("a", "a", "é", "é", "b" * 10, "b" * 10, "c" * 11, "c" * 11, "éé", "éé"):
        assert shout(text) == text.upper()
    assert asked == ["a", "é", "b" * 10, "c" * 11, "c" * 11, "éé", "éé"]
    assert shout.__doc__ == "Louder."


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (form_of, "\ufdfa" * 990),
        (form_of, "\ufdfa" * 50),
        (form_of, "x" * 990),
        (form_of, "\U0001d400" * 990),
        (canonical_or_none, '{"a": "' + "\ufdfa" * 3_000 + '"}'),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_entry_of_a_cache_is_small(function: Callable[[str], object], text: str) -> None:
    function("warm")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for at in range(100):
            function(f"{at}{text}" if text[0] != "{" else f" {text}{' ' * at}")
        kept = (tracemalloc.get_traced_memory()[0] - before) / 100
    finally:
        tracemalloc.stop()
    assert kept < 10_000
