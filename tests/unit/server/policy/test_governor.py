"""How many rollouts questions begin with, by what those like them needed."""

import random
from collections.abc import Sequence

import pytest

from server.policy.governor import Governor

SUMS = ("key:math:sums", "key:math")
SIZE, CONFIDENCE = 16, 0.99


class Bench:
    """A governor, and questions whose rollouts it is told about."""

    def __init__(self, affords: bool = True) -> None:
        self.governor = Governor(lambda: affords)

    def first(self, slices: Sequence[str] = SUMS) -> int:
        return self.governor.plan(slices, SIZE, CONFIDENCE).first

    def ask(self, count: int, agree: float, needed: int, slices: Sequence[str] = SUMS) -> None:
        """Questions whose pairs agree in that share, in turn."""
        for number in range(count):
            first = self.first(slices)
            together = int(agree * (number + 1)) > int(agree * number)
            apart = None if first == 1 else 1.0 - together
            self.governor.learn(slices, apart, needed if together else SIZE)


def test_nothing_is_known_at_first() -> None:
    plan = Bench().governor.plan(SUMS, SIZE, CONFIDENCE)
    assert (plan.first, plan.unanimity, plan.learns) == (4, 0.0, True)


@pytest.mark.parametrize(("size", "first"), [(1, 1), (3, 3), (16, 4)])
def test_never_more_than_there_may_be(size: int, first: int) -> None:
    assert Bench().governor.plan(SUMS, size, CONFIDENCE).first == first


def test_who_wants_certainty_gets_all_at_once() -> None:
    plan = Bench().governor.plan(SUMS, SIZE, 1.0)
    assert (plan.first, plan.unanimity, plan.learns) == (SIZE, 0.0, True)


def test_questions_that_agree_come_to_need_one_rollout() -> None:
    bench = Bench()
    bench.ask(200, agree=1.0, needed=1)
    firsts = [bench.first() for _ in range(400)]
    assert set(firsts) == {1, 2}
    assert 99 <= firsts.count(2) <= 101  # the audits


def test_audits_fall_on_no_turn_of_their_own() -> None:
    """Traffic in which every other question is of another kind."""
    bench = Bench()
    bench.ask(200, agree=1.0, needed=1)
    even = sum(bench.first() == 2 and at % 2 == 0 for at in range(800))
    assert 60 <= even <= 140


def test_an_audit_stands_for_the_questions_that_are_not_audited() -> None:
    bench = Bench()
    bench.ask(200, agree=1.0, needed=1)
    plans = [bench.governor.plan(SUMS, SIZE, CONFIDENCE) for _ in range(8)]
    assert {(plan.first, plan.stands_for) for plan in plans} == {(1, 1), (2, 4)}


def test_agreement_alone_earns_trust_without_probabilities() -> None:
    """Long replies: no rollout is probable enough alone, so only agreement can speak for them."""
    bench = Bench()
    needs = list[int]()
    for _ in range(200):
        plan = bench.governor.plan(SUMS, SIZE, CONFIDENCE)
        needs.append(plan.first)
        bench.governor.learn(SUMS, 0.0 if plan.first > 1 else None, min(plan.first, 3))
    assert needs[0] == 4
    assert needs[-1] <= 3
    assert bench.governor.plan(SUMS, SIZE, CONFIDENCE).unanimity > 0.9


@pytest.mark.parametrize(("affords", "first"), [(True, SIZE), (False, 2)])
def test_a_slice_that_never_agrees_is_drawn_at_once_for_the_learner(
    affords: bool, first: int
) -> None:
    bench = Bench(affords)
    bench.ask(100, agree=0.0, needed=SIZE)
    plan = bench.governor.plan(SUMS, SIZE, CONFIDENCE)
    assert (plan.first, plan.unanimity, plan.learns) == (first, 0.0, affords)


@pytest.mark.parametrize("seed", range(20))
def test_traffic_that_turns_hard_opens_the_governor_within_32_questions(seed: int) -> None:
    """A quiet week, then pairs that disagree every other time, seen in audits only."""
    rng = random.Random(seed)
    governor = Governor()
    for _ in range(2_000):
        plan = governor.plan(SUMS, SIZE, CONFIDENCE)
        governor.learn(SUMS, None if plan.first == 1 else 0.0, 1)
    assert governor.plan(SUMS, SIZE, CONFIDENCE).unanimity > 0.92
    for _ in range(32):
        plan = governor.plan(SUMS, SIZE, CONFIDENCE)
        governor.learn(SUMS, None if plan.first == 1 else float(rng.random() < 0.5), plan.first)
    now = governor.plan(SUMS, SIZE, CONFIDENCE)
    assert now.unanimity < 0.92  # one rollout alone no longer decides: rewards/early_decision.py


def test_where_little_is_split_nothing_is_learnt() -> None:
    bench = Bench()
    bench.ask(400, agree=1.0, needed=1)
    assert not bench.governor.plan(SUMS, SIZE, CONFIDENCE).learns
    bench.ask(100, agree=0.5, needed=1)
    assert bench.governor.plan(SUMS, SIZE, CONFIDENCE).learns


def test_nor_where_the_budget_is_spent() -> None:
    assert not Bench(affords=False).governor.plan(SUMS, SIZE, CONFIDENCE).learns


def test_a_new_template_is_known_by_its_key_and_kind() -> None:
    bench = Bench()
    bench.ask(200, agree=1.0, needed=1)
    assert bench.first(("key:math:products", "key:math")) <= 2
    assert bench.first(("key:math:products", "key:json")) == 4
    assert bench.first(("other:math:sums", "other:math")) == 4  # nobody vouches for another


def test_what_is_kept_is_bounded_and_forgotten() -> None:
    bench = Bench()
    for number in range(3_000):
        bench.governor.learn((f"key:math:{number}", "key:math"), 0.0, 1)
    assert bench.governor.split("key:math:0") is None
    assert bench.governor.split("key:math") == 0.0
    bench.governor.learn(("another:math",), 0.0, 1)
    bench.governor.forget("key")
    assert bench.governor.split("key:math") is None
    assert bench.governor.split("another:math") == 0.0


def test_nobody_wears_out_what_is_known_of_others() -> None:
    bench = Bench()
    bench.ask(40, 1.0, 1)
    known = bench.governor.split(SUMS[0])
    for number in range(3_000):
        bench.governor.learn((f"loud:math:t{number}", "loud:math"), 1.0, SIZE)
    assert bench.governor.split(SUMS[0]) == known == 0.0
