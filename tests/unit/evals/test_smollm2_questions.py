"""Questions for the real model: right answers, and none on both sides."""

import re

import pytest

from evals.smollm2.questions import stream_and_held_out


def numbers(prompt: str) -> tuple[int, ...]:
    return tuple(sorted(map(int, re.findall(r"\d+", prompt))))


@pytest.mark.parametrize("seed", range(3))
def test_answers_are_right_and_sides_apart(seed: int) -> None:
    asked, test = stream_and_held_out(seed, 400, 60)
    assert (len(asked), len(test)) == (400, 60)
    assert len({item.id for item in [*asked, *test]}) == 460
    for item in [*asked, *test]:
        a, b = numbers(item.prompt)
        assert int(item.answer) == a * b
        assert item.prompt.endswith("Answer with just the number.")
    pairs = [{numbers(item.prompt) for item in side} for side in (asked, test)]
    assert not pairs[0] & pairs[1]
    assert len({item.prompt for item in test}) == 60
    for family in ("times", "multiplied", "groups"):
        assert sum(item.level == family for item in test) == 20


def test_a_seed_names_them() -> None:
    assert stream_and_held_out(1, 9, 9) == stream_and_held_out(1, 9, 9)
    assert stream_and_held_out(1, 9, 9) != stream_and_held_out(2, 9, 9)
