"""What counts as harm: proven losses of what base does, and base's own replies made unlikely."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.store.judgement import Cause
from server.promotion.guards.harm import GuardRecord, HarmRules, chance_of_more

RULES = HarmRules(max_lost=0.15, max_unlikely=0.25)


def record(**lost: tuple[int, int]) -> GuardRecord:
    """Of each area so many items, of which the first so many are lost."""
    made = GuardRecord()
    for area, (failed, items) in lost.items():
        for at in range(items):
            made.did(area, f"{area}-{at}", at >= failed)
    return made


def test_the_chance_of_losses_is_that_of_the_binomial() -> None:
    assert chance_of_more(0, 5, 0.2) == pytest.approx(1)
    assert chance_of_more(2, 2, 0.5) == pytest.approx(0.25)
    assert chance_of_more(1, 3, 0.1) == pytest.approx(1 - 0.9**3)


def test_few_losses_are_no_harm() -> None:
    assert record(json=(2, 12), facts=(1, 12)).harm(RULES) is None


def test_what_is_lost_everywhere_is_harm_of_all() -> None:
    harm = record(json=(5, 12), facts=(5, 12), letters=(5, 12), format=(5, 12)).harm(RULES)
    assert harm is not None and harm.cause is Cause.GUARD
    assert harm.reason == "fails 20 of 48 of the tasks that base does"
    assert (harm.area, len(harm.lost)) == ("", 20)


def test_an_area_must_hold_on_its_own() -> None:
    harm = record(json=(8, 12), facts=(0, 13), letters=(0, 13), format=(0, 13)).harm(RULES)
    assert harm is not None and harm.area == "json"
    assert harm.reason == "fails 8 of 12 of json that base does"
    assert harm.lost[:2] == ["json-0", "json-1"]


def test_a_base_that_does_next_to_nothing_proves_nothing() -> None:
    assert record(facts=(7, 7)).harm(RULES) is None
    assert record(facts=(8, 8)).harm(RULES) is not None


def test_base_s_own_replies_must_stay_likely() -> None:
    kept = record(facts=(0, 8))
    kept.scored([-1.2] * 64, [-1.0] * 64)
    assert kept.harm(RULES) is None
    assert kept.numbers()["likelihood"] == pytest.approx(-0.2)
    kept.scored([-1.4] * 64, [-1.0] * 64)
    harm = kept.harm(RULES)
    assert harm is not None and harm.cause is Cause.LIKELIHOOD
    assert harm.reason == "base's own replies are less likely by 0.30 nats per token"


def test_what_is_not_a_number_is_harm_and_a_few_tokens_are_nothing() -> None:
    few, broken = record(facts=(0, 8)), record(facts=(0, 8))
    few.scored([-9.0] * 63, [-1.0] * 63)
    assert few.harm(RULES) is None
    broken.scored([math.nan] * 64, [-1.0] * 64)
    assert broken.harm(RULES) is not None


def test_numbers_tell_each_area() -> None:
    numbers = record(json=(2, 3), facts=(0, 9)).numbers()
    assert numbers == {
        "tasks": 12.0, "lost": 2.0, "lost_json": 2.0, "tasks_json": 3.0,
        "lost_facts": 0.0, "tasks_facts": 9.0,
    }  # fmt: skip


@given(st.integers(8, 64), st.floats(0.0, 1.0))
def test_who_loses_no_more_than_is_allowed_is_harmed_rarely(items: int, share: float) -> None:
    """Of all numbers of losses that are called harm, the chance at `max_lost` is 1% at most."""
    least = next((n for n in range(items + 1) if record(a=(n, items)).harm(RULES)), None)
    if least is not None:
        assert chance_of_more(least, items, RULES.max_lost) <= 0.01
        assert least / items > RULES.max_lost
