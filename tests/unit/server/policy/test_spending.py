"""The budget of generated tokens."""

import pytest
from pydantic import ValidationError

from server.policy.spending import Spending
from server.settings import ServerSettings


def test_without_a_bound_everything_is_afforded() -> None:
    spending = Spending()
    spending.generated(10**9)
    assert spending.affords
    assert spending.most_rollouts(16) == 16


def test_what_is_answered_pays_for_what_is_generated() -> None:
    spending = Spending(8.0)
    spending.generated(8 * 1_024)  # all that is in hand at first
    assert not spending.affords
    spending.answered(10, 10)
    assert spending.affords
    spending.generated(79)
    assert spending.affords
    spending.generated(1)
    assert not spending.affords


def test_a_quiet_hour_pays_for_no_busy_one() -> None:
    spending = Spending(2.0)
    spending.answered(10**6, 10**6)
    spending.generated(2 * 1_024)
    assert not spending.affords


def test_the_price_is_that_of_late() -> None:
    spending = Spending()
    assert spending.price is None
    for generated in [160] * 100 + [20] * 10_000:
        spending.generated(generated)
        spending.answered(10, 10)
    assert spending.price == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize(
    ("budget", "owed", "rollouts"),
    [(1.0, 0, 1), (3.0, 0, 1), (8.0, 0, 4), (64.0, 0, 16), (8.0, 9_000, 1), (8.0, -1, 16)],
)
def test_votes_over_the_budget_are_small(budget: float, owed: int, rollouts: int) -> None:
    spending = Spending(budget)
    spending.generated(int(budget * 1_024) + owed)
    assert spending.most_rollouts(16) == rollouts


@pytest.mark.parametrize("budget", [2.0, 4.0, 8.0])
@pytest.mark.parametrize("lengths", [(10, 10), (5, 15)])
def test_it_is_held_and_learning_goes_on(budget: float, lengths: tuple[int, int]) -> None:
    """Votes that want 16 rollouts, of which a short one is served, and learning that takes all it
    is given."""
    spending, answered, generated, learnt = Spending(budget), 0, 0, 0
    for _ in range(8_000):
        rollouts = spending.most_rollouts(16)
        learns = 300 if spending.affords else 0
        spent = sum(lengths[at % 2] for at in range(rollouts)) + learns
        spending.generated(spent)
        spending.answered(lengths[0], sum(lengths) / 2)
        answered, generated, learnt = answered + lengths[0], generated + spent, learnt + learns
    assert generated <= budget * (answered + 1_024) + 700
    assert learnt > 0.1 * answered


def test_who_asks_for_many_rollouts_does_not_stop_learning_for_good() -> None:
    spending = Spending(4.0)
    spending.generated(10**9)
    count = 0
    while not spending.affords:
        spending.generated(10 * spending.most_rollouts(16))
        spending.answered(10, 10)
        count += 1
    assert count < 2_500


@pytest.mark.parametrize("budget", [0.5, -1.0, float("nan"), float("inf")])
def test_a_budget_below_the_answer_itself_is_refused(budget: float) -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        ServerSettings(budget=budget)
