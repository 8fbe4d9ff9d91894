"""The budget of generated tokens."""

import asyncio

import pytest
from pydantic import ValidationError

from server.policy.learning_share import LearningShare
from server.policy.spending import Spending
from server.settings import ServerSettings
from tests.serving import until


def test_without_a_bound_everything_is_afforded() -> None:
    spending = Spending()
    spending.generated(10**9)
    assert spending.affords
    assert spending.most_rollouts(16) == 16


def test_what_is_answered_pays_for_what_is_generated() -> None:
    spending = Spending(8.0)
    spending.generated(8 * 1_024)  # all that is in hand at first
    assert not spending.affords
    assert spending.most_rollouts(16) == 8
    spending.answered(10)
    assert spending.affords
    spending.generated(79)
    assert spending.affords
    spending.generated(1)
    assert not spending.affords


def test_a_quiet_hour_pays_for_no_busy_one() -> None:
    spending = Spending(2.0)
    spending.answered(10**6)
    spending.generated(2 * 1_024)
    assert not spending.affords


def test_the_price_is_that_of_late() -> None:
    spending = Spending()
    assert spending.price is None
    for generated in [160] * 100 + [20] * 10_000:
        spending.generated(generated)
        spending.answered(10)
    assert spending.price == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(("budget", "rollouts"), [(1.0, 1), (1.9, 1), (4.0, 4), (64.0, 16)])
def test_votes_over_the_budget_are_small(budget: float, rollouts: int) -> None:
    spending = Spending(budget)
    spending.generated(10**6)
    assert spending.most_rollouts(16) == rollouts


@pytest.mark.parametrize("hard", [False, True])
def test_it_is_held_whatever_comes(hard: bool) -> None:
    """Votes that want 16 rollouts of 10 tokens, and learning that takes all it is given."""
    spending, answered, generated = Spending(4.0), 0, 0
    for _ in range(4_000):
        rollouts = spending.most_rollouts(16 if hard else 2)
        spent = 10 * rollouts + (300 if spending.affords else 0)
        spending.generated(spent)
        spending.answered(10)
        answered, generated = answered + 10, generated + spent
    assert generated <= 4.0 * (answered + 1_024) + 460
    assert generated > 3.5 * answered


@pytest.mark.parametrize("budget", [0.5, -1.0, float("nan"), float("inf")])
def test_a_budget_below_the_answer_itself_is_refused(budget: float) -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        ServerSettings(budget=budget)


async def test_learning_waits_for_the_budget() -> None:
    spending = Spending(2.0)
    share = LearningShare(alone=8, beside=2, affords=lambda: spending.affords)
    spending.on_change = share.changed
    spending.generated(2 * 1_024)
    drawn = list[int]()

    async def draw() -> None:
        async with share.take(4):
            drawn.append(4)

    task = asyncio.create_task(draw())
    await asyncio.wait([task], timeout=0.05)
    assert not drawn
    spending.answered(1)
    await until(lambda: drawn)
    await task
