"""What was reported of other graders, and pairs of our own: no wrong "equal"."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.answers.math_answers import MathAnswers, math_answer
from rewards.answers.math_judge import MathJudge

DATA = Path(__file__).parent / "data"
REPORTS = json.loads((DATA / "public_reports.json").read_text())
OWN: dict[str, dict[str, list[tuple[str, str]]]] = json.loads((DATA / "own_pairs.json").read_text())
SMALLEST_SHARE_FOUND = 0.97


@pytest.fixture(scope="module")
def judge() -> Iterator[MathJudge]:
    with MathJudge(deadline=10) as judge:
        assert judge("x + 1", "1 + x")  # its worker runs from here on
        yield judge


@pytest.mark.parametrize("report", REPORTS["reading"], ids=lambda report: report["texts"][0][:30])
def test_reported_replies_are_read_and_told_apart(judge: MathJudge, report) -> None:
    answers = [math_answer(text, last_number=True) for text in report["texts"]]
    assert answers == report["answers"]
    assert MathAnswers(judge).tally(answers).clusters == report["clusters"]


@pytest.mark.parametrize(("source", "first", "second", "equal"), REPORTS["pairs"])
def test_reported_pairs(judge: MathJudge, source: str, first: str, second: str, equal) -> None:
    kind = MathAnswers(judge)
    assert kind.same(first, second) == kind.same(second, first) == equal, source


def pairs(which: str) -> Iterator[tuple[AnswerChoice, str, str]]:
    """Our own; mathematics and words under `auto` as well."""
    for name, rows in OWN[which].items():
        kinds = [name, "auto"] if name in ("math", "short") else [name]
        for kind in kinds:
            pattern = "(.)" if kind == "pattern" else None
            yield from ((AnswerChoice(kind, pattern=pattern), *row) for row in rows)


def found(judge: MathJudge, which: str) -> list[bool]:
    """Whether each pair is the same, both ways round, in a tally as well."""
    kinds = AnswerKinds(judge)
    same: list[bool] = []
    for choice, first, second in pairs(which):
        kind = kinds.of(choice)
        one, other = kind.same(first, second), kind.same(second, first)
        together = kind.tally([first, second]).clusters == [0, 0]
        assert one == other == together, (choice.kind, first, second)
        same.append(one)
    return same


def test_there_are_three_hundred_pairs_and_half_of_them_differ() -> None:
    counts = {which: sum(map(len, OWN[which].values())) for which in OWN}
    assert sum(counts.values()) >= 300 and min(counts.values()) >= 145
    assert not {*map(str, pairs("same"))} & {*map(str, pairs("different"))}


def test_different_answers_are_never_equal(judge: MathJudge) -> None:
    wrong = [
        pair
        for pair, same in zip(pairs("different"), found(judge, "different"), strict=True)
        if same
    ]
    assert wrong == []


def test_the_same_answers_are_found(judge: MathJudge) -> None:
    same = found(judge, "same")
    assert sum(same) >= SMALLEST_SHARE_FOUND * len(same)
