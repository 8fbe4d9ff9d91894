"""One relation for votes, rewards and grades, with scripted and with real judgement."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.answers.equality import MAX_JUDGED_PAIRS, Equality
from rewards.answers.math_judge import MathJudge

PAIRS: dict[str, list[tuple[str, str, bool]]] = json.loads(
    (Path(__file__).parent / "data/equality_pairs.json").read_text()
)
MISSES = {
    # math-verify takes `x in [-2, 7]` for the inequality one way round only; ours is symmetric
    ("x \\in [-2,7]", "-2 \\\\le x \\\\le 7"),
    # recorded as equal in its tests, and not
    ("1 - \\frac{1}{\\mathrm{e}}", "1 + \\frac{1}{\\mathrm{e}}"),
}


class Script:
    """Judges by a list of equal pairs, and remembers what it was asked."""

    def __init__(self, *equal: tuple[str, str]) -> None:
        self.equal, self.asked = {frozenset(pair) for pair in equal}, []

    def __call__(self, first: str, second: str) -> bool:
        self.asked.append((first, second))
        return frozenset((first, second)) in self.equal


@pytest.fixture(scope="module")
def judge() -> Iterator[MathJudge]:
    with MathJudge(deadline=10) as judge:
        yield judge


def test_plain_cases_are_never_judged() -> None:
    script = Script()
    equality = Equality(script)
    answers = ["1/2", "0.5", "2", "A", "(A)", "no", None, "NO"]
    assert equality.instant(answers)
    assert equality.ballot(answers).clusters == [0, 0, 1, 2, 2, 3, None, 3]
    assert not equality.same("1", "2")
    assert script.asked == []


def test_open_cases_are_judged_once_shortest_first() -> None:
    script = Script(("x", "x^1"))
    equality = Equality(script)
    answers = ["x^1", "2", "x"]
    assert not equality.instant(answers)
    ballot = equality.ballot(answers)
    assert ballot.clusters == [0, 1, 0]
    assert ballot.members == [[0, 2], [1]]
    assert script.asked == [("2", "x"), ("2", "x^1"), ("x", "x^1")]
    assert equality.same("x^1", "x")
    assert not equality.same("x", "2")
    assert len(script.asked) == 3


def test_without_a_judge_open_cases_differ() -> None:
    equality = Equality()
    assert equality.instant(["x", "y"])
    assert equality.ballot(["x", "x^1", "X"]).clusters == [0, 1, 0]
    assert not equality.same("x", "x^1")


def test_one_form_needs_no_judge() -> None:
    assert Equality(Script()).instant(["x + y", "X  + y", None])


def test_rounded_decimals_meet_their_fraction() -> None:
    equality = Equality(Script())
    assert equality.ballot(["1/3", "0.333333", "0.333334"]).clusters == [0, 0, 1]
    assert not equality.instant(["0.333333", "1/3"])


def test_judged_pairs_of_one_ballot_are_bounded() -> None:
    script = Script()
    answers = [f"x + {i}" for i in range(64)]
    assert len(set(Equality(script).ballot(answers).clusters)) == 64
    assert len(script.asked) == MAX_JUDGED_PAIRS


def test_matches_finds_the_cluster_of_an_answer_from_outside() -> None:
    equality = Equality(Script(("x", "x^1")))
    ballot = equality.ballot([None, "7", "x"])
    assert equality.matches(ballot, "7.0") == 0
    assert equality.matches(ballot, "x^1") == 1
    assert equality.matches(ballot, "8") is None


@given(st.permutations(["x", "x^1", "1*x", "2", "0.333333", "1/3", "y", None]))
def test_clusters_do_not_depend_on_order(answers) -> None:
    # not transitive on purpose: x ~ x^1 ~ 1*x, but not x ~ 1*x
    ballot = Equality(Script(("x", "x^1"), ("x^1", "1*x"))).ballot(answers)
    together = {frozenset(answers[row] for row in rows) for rows in ballot.members}
    assert together == {
        frozenset({"x", "x^1"}), frozenset({"1*x"}), frozenset({"2"}),
        frozenset({"1/3", "0.333333"}), frozenset({"y"}),
    }  # fmt: skip
    assert ballot.clusters == [
        None if answer is None else next(i for i, rows in enumerate(ballot.members) if row in rows)
        for row, answer in enumerate(answers)
    ]


@pytest.mark.timeout(300)
def test_published_pairs_are_graded_right(judge: MathJudge) -> None:
    """Facts from the test suites of math-verify and of NeMo-Skills' grader, in both orders."""
    equality = Equality(judge)
    wrong = [
        (first, second)
        for rows in PAIRS.values()
        for first, second, equal in rows
        if not equality.same(first, second) == equality.same(second, first) == equal
    ]
    assert set(wrong) == MISSES
    assert len(wrong) <= 0.01 * sum(map(len, PAIRS.values()))
