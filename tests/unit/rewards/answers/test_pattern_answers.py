"""A client's regular expression."""

import time

import pytest

from rewards.answer_choice import AnswerChoice, ChoiceInvalid
from rewards.answers.kinds import AnswerKinds
from rewards.answers.pattern_answers import PatternAnswers
from rewards.rollouts import FINISHED, Rollout


def read(pattern: str, text: str) -> str | None:
    return PatternAnswers(pattern).read(Rollout(text, (), (), FINISHED))


@pytest.mark.parametrize(
    ("pattern", "text", "answer"),
    [
        (r"ID: (\w+)", "ID: a, then ID: b", "b"),
        (r"(?i)verdict\s*=\s*(\w+)", "VERDICT = guilty", "guilty"),
        (r"^(\d+)$", "42", "42"),
        (r"x(\d*)", "x1 x", "1"),
        (r"(\d+)", "no digits", None),
        (r"(\d+)", "<think>1</think>2", "2"),
        (r"(.)\s*$", "caf\u00e9", "\u00e9"),
        (r"(.)", "\ud800", "?"),
    ],
)
def test_the_last_match_of_the_group_is_the_answer(pattern, text, answer) -> None:
    assert read(pattern, text) == answer


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (None, "is missing"),
        ("", "is missing"),
        ("(", "does not compile: missing"),
        (r"(a)\1", "does not compile: invalid escape"),
        (r"(?=a)(b)", "does not compile"),
        (r"((a{1000}){1000})", "does not compile"),
        ("a", "must have one group, not 0"),
        ("(a)(b)", "must have one group, not 2"),
        ("(" + "a" * 1_000 + ")", "at most 1000 bytes"),
        ("(\ud800)", "does not compile"),
    ],
)
def test_a_bad_pattern_is_refused_by_name(pattern: str | None, why: str) -> None:
    with pytest.raises(ChoiceInvalid, match=r"^pattern: ") as error:
        AnswerKinds().of(AnswerChoice("pattern", pattern=pattern))
    assert why in str(error.value)


def test_matching_takes_linear_time() -> None:
    hostile = PatternAnswers(r"((?:a*)*b)")
    started = time.process_time()
    assert hostile.read(Rollout("a" * 1_000 + "c", (), (), FINISHED)) is None
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    "pattern", [r"(?s)(.)(?:.*[a-m].{500}9)?", r"(?s)(.)(?:.*[aeiou ].{300}9)?"]
)
def test_a_search_from_each_character_to_the_end_is_broken_off(pattern: str) -> None:
    started = time.thread_time()
    assert read(pattern, "an ordinary reply of some words " * 400) is None
    assert time.thread_time() - started < 1.0  # minutes before


def test_thousands_of_matches_are_all_found() -> None:
    assert read(r"(\d+)", " ".join(map(str, range(9_000)))) == "8999"
