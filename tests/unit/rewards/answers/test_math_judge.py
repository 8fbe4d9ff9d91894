"""Mathematics under a deadline: answers of strangers must not cost more than that."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from rewards.answers.math_judge import MathJudge

TOWER = "9^{9^{9^{9}}}"
UNREADABLE = "(" * 500
HUNGRY = "10^{10^{10}}!"


@pytest.fixture
def judge() -> Iterator[MathJudge]:
    with MathJudge(deadline=1.0) as judge:
        assert judge("x + 1", "1 + x")
        yield judge


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", True),
        ("(x+1)^2", "x^2+2x+1", True),
        ("x=5", "5", True),
        ("2x+1=5", "5", False),
        (r"\{1,2\}", r"\{2,1\}", True),
        ("(1,2)", "(2,1)", False),
        ("(3,1)", r"\{1,3\}", False),
        ("1,22", "1.22", True),
        ("6,8", r"6 \text{ and } 8", True),
        ("28%", r"28\%", True),
        ("[0,1)", "(0,1)", False),
        ("", "", False),
        (r"\frac{", "x", False),
    ],
)
def test_verdicts(judge: MathJudge, first: str, second: str, equal: bool) -> None:
    assert judge(first, second) is equal
    assert judge(second, first) is equal
    assert judge.killed == 0


def seconds(judge: MathJudge, first: str, second: str) -> float:
    started = time.monotonic()
    assert judge(first, second) is False
    return time.monotonic() - started


@pytest.mark.parametrize("order", [1, -1])
def test_what_stalls_the_parser_is_read_once(judge: MathJudge, order: int) -> None:
    assert 1.0 <= seconds(judge, *(UNREADABLE, "x")[::order]) < 3.0
    assert judge.killed == 1
    assert seconds(judge, *("y", UNREADABLE)[::order]) < 0.5
    assert judge("x + 1", "1 + x") is True
    assert judge.killed == 1


def test_a_pair_that_is_hard_to_compare_blames_neither_answer(judge: MathJudge) -> None:
    assert 1.0 <= seconds(judge, f"{TOWER} + x", "1 + 1 + x") < 3.0
    assert judge.killed == 1
    assert judge("1 + x + 1", "1 + 1 + x") is True
    assert seconds(judge, TOWER, "y") < 0.5
    assert judge.killed == 1


@pytest.mark.parametrize(
    "hostile",
    [HUNGRY, "x^{x^{x^{x^{99999999}}}}", "{" * 400, r"\frac{" * 150, r"\sqrt" * 200, "(" * 500,
     r"\int_0^1 e^{x^{x^x}} dx", "\x00", "\ud800", "1/0", r"\sum_{n=1}^{10^{99}} \frac{1}{n^2}"],
)  # fmt: skip
def test_hostile_answers_end_within_the_deadline(judge: MathJudge, hostile: str) -> None:
    started = time.monotonic()
    judge(hostile, "x + 2")
    assert time.monotonic() - started < 3.0
    assert judge("x + 1", "1 + x") is True


def test_a_worker_that_dies_is_replaced(judge: MathJudge) -> None:
    assert judge.pid is not None
    os.kill(judge.pid, signal.SIGKILL)
    assert judge("x + 1", "1 + x") is False
    assert judge("y + 1", "1 + y") is True
    assert judge.killed == 1


def test_closing_twice_is_harmless_and_it_can_start_again() -> None:
    judge = MathJudge()
    judge.close()
    assert judge("x + 1", "1 + x")
    judge.close()
    judge.close()
    assert judge("x + 1", "1 + x")
    judge.close()
