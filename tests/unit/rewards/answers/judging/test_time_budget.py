"""How much time mathematics has for one tally or label, and what becomes of the rest."""

import math
import threading
import time

import pytest

from rewards.answers.judging.time_budget import OutOfTime, TimeBudget, current_budget, within
from rewards.answers.judging.verdicts import Verdicts
from rewards.answers.math_answers import MathAnswers
from rewards.answers.math_judge import MathJudge

SLOW = [rf"\int_0^1 \frac{{\sin(x^{at})}}{{1+x^{{11}}}} dx" for at in range(2, 18)]


def test_four_pairs_may_take_all_of_their_time() -> None:
    budget = TimeBudget()
    assert budget.left(1.5) == 6.0
    budget.spend(5.0)
    assert budget.left(1.5) == 1.0
    budget.spend(5.0)
    assert budget.left(1.5) == 0.0
    assert TimeBudget(until=-math.inf).left(1.0) == 0.0
    assert 0 < TimeBudget(until=time.monotonic() + 2).left(30) <= 2


def test_a_budget_is_shared_by_all_within_it() -> None:
    assert current_budget() is not current_budget()
    with within() as outer:
        with within() as inner:
            assert inner is outer
        with within(TimeBudget()) as own:
            assert own is not outer
        assert current_budget() is outer


def test_verdicts_are_remembered_but_not_that_there_was_no_time() -> None:
    asked: list[tuple[str, str]] = []

    def judge(first: str, second: str) -> bool:
        asked.append((first, second))
        if current_budget().left(1.0) == 0:
            raise OutOfTime
        return True

    verdicts = Verdicts(judge)
    with within(TimeBudget(until=0)):
        assert verdicts("a", "b" * 100_000) is False
    assert [verdicts("a", "b" * 100_000) for _ in range(3)] == [True] * 3
    assert len(asked) == 2
    assert verdicts("ab", "c") and verdicts("a", "bc") and len(asked) == 4, "two pairs, not one"


def test_a_tally_of_slow_answers_ends() -> None:
    with MathJudge(deadline=1.0) as judge:
        kind = MathAnswers(judge)
        assert kind.same("x + 1", "1 + x")
        started = time.monotonic()
        tally = kind.tally([*SLOW, "x + 2", "2 + x"])
        assert time.monotonic() - started < 10.0  # 150 pairs of 1 s
        assert len(tally.members) > 10
        assert kind.tally(["y + 1", "1 + y"]).clusters == [0, 0], "another has time of its own"


def test_who_waits_for_a_place_waits_no_longer_than_its_time() -> None:
    with MathJudge(deadline=1.0) as judge:
        assert judge("x + 1", "1 + x")
        hold = threading.Thread(target=judge, args=(SLOW[0], SLOW[1]))
        hold.start()
        while judge._free.qsize():  # noqa: SLF001 - it has not begun
            time.sleep(0)
        with within(TimeBudget(until=time.monotonic() + 0.05)), pytest.raises(OutOfTime):
            judge("x + 3", "3 + x")
        hold.join()
        assert judge("x + 3", "3 + x")


def test_several_pairs_are_judged_at_a_time() -> None:
    with MathJudge(deadline=1.0, workers=2) as judge:
        assert judge("x + 1", "1 + x")
        with judge._taken(TimeBudget()) as first:  # noqa: SLF001
            assert judge("x + 2", "2 + x")
        assert first.worker is not None
