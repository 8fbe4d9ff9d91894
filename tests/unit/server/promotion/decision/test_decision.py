"""The decision over a candidate: what it says, and how often it is wrong."""

import random
import time
from collections.abc import Callable, Sequence

import pytest

from adapter.store.judgement import Cause
from server.promotion.decision.asked import Asked
from server.promotion.decision.decision import Decision, DecisionRules, Finding

RULES = DecisionRules(margin=0.05, queries=192, max_overturned=0.18, max_novel=0.25)
EVEN = [0, 0, 0, 1]


def fed(
    decision: Decision,
    candidate: Callable[[int], Sequence[int]],
    *,
    count: int = 192,
    label: int | None = None,
    parent: Sequence[int] = EVEN,
) -> Finding | None:
    """The first finding, after each query."""
    for number in range(count):
        answers = candidate(number)
        decision.add(Asked(f"q{number}", [f"s{number % 4}"], answers, {"parent": parent}, label))
        if finding := decision.look():
            return finding
    return None


def test_equal_answers_pass_at_the_first_planned_look() -> None:
    decision = Decision(["parent"], RULES)
    finding = fed(decision, lambda _: EVEN)
    assert finding == Finding(
        "not worse than its parent: +0.000 over 80 queries", reference="parent"
    )
    assert decision.numbers()["against_parent/queries"] == 80.0
    assert not decision.better_than("parent")


def test_a_clear_gain_passes_early_unless_it_may_overturn_too_much() -> None:
    surer = lambda _: [0, 0, 0, 0]  # noqa: E731
    finding = fed(Decision(["parent"], RULES), surer)
    assert finding is not None and finding.accepted
    assert "over 24 queries" in finding.reason
    # A fifth of all is changed to what the parent never says: few queries cannot tell how much.
    changed = lambda n: [2, 2, 2, 2] if n % 5 == 0 else [0, 0, 0, 0]  # noqa: E731
    finding = fed(Decision(["parent"], RULES), changed, parent=[0, 0, 1, 1])
    assert finding is not None and finding.accepted
    assert "over 80 queries" in finding.reason


def test_a_slice_of_which_two_queries_look_bad_stops_an_early_pass() -> None:
    decision = Decision(["parent"], RULES)
    for number in range(24):
        few = number in (5, 17)
        answers = [2, 2, 2, 2] if few else [0, 0, 0, 0]
        decision.add(Asked(f"q{number}", ["few" if few else "most"], answers, {"parent": EVEN}))
    assert decision.look() is None


def test_a_loser_is_turned_away_early_with_the_queries_that_it_lost() -> None:
    finding = fed(Decision(["parent"], RULES), lambda n: [0, 1, 2, 3] if n % 2 else EVEN)
    assert finding is not None and finding.cause is Cause.WORSE
    assert finding.reference == "parent"
    assert finding.lost[:2] == ["q1", "q3"]
    assert "over" in finding.reason


def test_confident_answers_against_what_the_parent_agrees_on_need_labels() -> None:
    """Without labels a mended consensus looks like a damaged one; with labels it is known."""
    changed = lambda n: [2, 2, 2, 2] if n % 3 == 0 else EVEN  # noqa: E731
    finding = fed(Decision(["parent"], RULES), changed)
    assert finding is not None and finding.cause is Cause.OVERTURNED
    for label, cause in ((2, None), (0, Cause.WORSE)):
        decision = Decision(["parent"], RULES, labels=100)
        fed(decision, lambda n: [2, 2, 2, 2], count=100, label=label)
        finding = decision.look() or fed(decision, changed)
        assert finding is not None and finding.cause is cause


def test_answers_that_a_reference_never_gives_are_not_learnt() -> None:
    """A surer candidate may gain more than it loses where it agrees on something new."""
    changed = lambda n: [2, 2, 2, 2] if n % 3 == 0 else [0, 0, 0, 0]  # noqa: E731
    decision = Decision(["parent"], RULES)
    finding = fed(decision, changed, parent=[0, 0, 1, 1])
    assert finding is not None and finding.cause is Cause.OVERTURNED
    assert finding.reason == "agrees on answers that its parent does not have: 0.338 of 80 queries"
    assert decision.numbers()["against_parent/overturned"] < 0.18
    kept = fed(Decision(["parent"], RULES), changed, parent=[0, 0, 2, 3])
    assert kept is not None and kept.accepted


def test_nothing_passes_before_the_last_label() -> None:
    decision = Decision(["parent"], RULES, labels=3)
    fed(decision, lambda _: EVEN, count=2, label=0)
    assert fed(decision, lambda _: EVEN, count=191) is None
    fed(decision, lambda _: EVEN, count=1, label=0)
    finding = fed(decision, lambda _: EVEN, count=1)
    assert finding is not None and finding.accepted


def test_a_single_label_neither_blocks_nor_decides() -> None:
    for answers in (EVEN, [0, 0, 0, 0], [2, 2, 2, 2]):
        decision = Decision(["parent"], RULES, labels=1)
        fed(decision, lambda _, answers=answers: answers, count=1, label=0)
        finding = fed(decision, lambda _: EVEN)
        assert finding is not None and finding.accepted


def test_a_slice_is_named_with_its_queries() -> None:
    decision, finding = Decision(["parent"], RULES), None
    for number in range(192):
        name = "odd" if number % 8 == 1 else "rest"
        answers = [2, 3, 4, 5] if name == "odd" else [0, 0, 0, 0]
        decision.add(Asked(f"q{number}", [name], answers, {"parent": EVEN}))
        if finding := decision.look():
            break
    assert finding is not None
    assert (finding.cause, finding.slice) == (Cause.SLICE, "odd")
    assert finding.reason == "slice odd is worse than under its parent: -0.750 over 8 queries"
    assert set(finding.lost) == {f"q{n}" for n in range(64) if n % 8 == 1}


def test_no_reason_says_whose_slice_it_is() -> None:
    """Reasons are logged, and shown on the page."""
    decision, finding = Decision(["parent"], RULES), None
    for number in range(192):
        lost = number % 8 == 1
        part = "client:0123456789abcdef" if lost else "rest"
        answers = [2, 3, 4, 5] if lost else [0, 0, 0, 0]
        decision.add(Asked(f"q{number}", [part], answers, {"parent": EVEN}))
        if finding := decision.look():
            break
    assert finding is not None
    assert finding.slice == "client:0123456789abcdef"
    assert finding.reason.startswith("the slice of one client is worse than under its parent")


def test_a_slice_that_looks_bad_delays_the_pass_until_it_is_known() -> None:
    decision = Decision(["parent"], RULES)
    finding = None
    for number in range(192):
        answers = [2, 3, 4, 5] if number < 4 else [0, 0, 0, 0]
        few = number < 4 or 100 <= number < 120
        decision.add(Asked(f"q{number}", ["few"] if few else [], answers, {"parent": EVEN}))
        if finding := decision.look():
            break
    assert finding is not None and finding.accepted
    assert "over 144 queries" in finding.reason


def test_each_reference_counts() -> None:
    decision = Decision(["parent", "base", "best"], RULES)
    finding = None
    for number in range(192):
        rows = {"parent": EVEN, "base": EVEN, "best": [0, 0, 0, 0]}
        decision.add(Asked(f"q{number}", [], [0, 0, 1, 2], rows))
        if finding := decision.look():
            break
    assert finding is not None and finding.cause is Cause.WORSE


def test_undecided_names_the_reference_that_is_least_sure() -> None:
    rules = DecisionRules(margin=0.01, queries=32, max_overturned=1.0, max_novel=1.0)
    decision = Decision(["parent", "base"], rules)
    for number in range(32):
        rows = {"parent": EVEN, "base": EVEN if number % 4 else [0, 0, 0, 0]}
        decision.add(Asked(f"q{number}", [], EVEN, rows))
        assert decision.look() is None
    finding = decision.last()
    assert finding.cause is Cause.UNDECIDED
    assert finding.reason.startswith("undecided against base: -0.062 over 32 queries")


def test_better_is_proven_by_labels_where_there_are_enough() -> None:
    decision = Decision(["parent"], RULES, labels=64)
    fed(decision, lambda _: [0, 0, 0, 0], count=64, label=0)
    fed(decision, lambda _: EVEN)
    assert decision.better_than("parent")


def drawn(noise: random.Random, right: float) -> list[int]:
    return [0 if noise.random() < right else noise.choice([1, 2]) for _ in range(8)]


@pytest.mark.parametrize(
    ("loss", "least", "most"), [(0.0, 0.8, 1.0), (0.05, 0.0, 0.07), (0.15, 0.0, 0.0)]
)
def test_equal_candidates_pass_and_losers_do_not(loss: float, least: float, most: float) -> None:
    """Each rollout right at 70%, no common noise; the margin is the edge."""
    noise, passed = random.Random(3), 0
    for _ in range(200):
        decision, finding = Decision(["parent"], RULES), None
        for number in range(192):
            parent = {"parent": drawn(noise, 0.7)}
            decision.add(Asked(f"q{number}", [], drawn(noise, 0.7 - loss), parent))
            if finding := decision.look():
                break
        passed += finding is not None and finding.accepted
    assert least <= passed / 200 <= most


def test_a_look_at_sixteen_queries_is_quick() -> None:
    noise = random.Random(1)
    decision = Decision(["parent", "base", "best"], RULES, labels=200)
    rows = [
        Asked(f"q{n}", [f"a{n % 9}", f"b{n % 7}", "c"], drawn(noise, 0.7),
              {name: drawn(noise, 0.7) for name in ("parent", "base", "best")},
              0 if n < 200 else None)
        for n in range(392)
    ]  # fmt: skip
    looks: list[float] = []
    for start in range(0, 392, 16):
        began = time.perf_counter()
        for asked in rows[start : start + 16]:
            decision.add(asked)
        decision.look()
        looks.append(time.perf_counter() - began)
    assert sorted(looks)[len(looks) // 2] < 0.005
