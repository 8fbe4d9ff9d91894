"""One relation for votes, rewards and grades, with scripted and with real judgement."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.answers.equality.clusters import MAX_JUDGED_PAIRS
from rewards.answers.kind import cluster_of
from rewards.answers.math_answers import MathAnswers
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
    kind = MathAnswers(script)
    answers = ["1/2", "0.5", "2", "A", "(A)", "no", None, "No"]
    assert kind.instant(answers)
    assert kind.tally(answers).clusters == [0, 0, 1, 2, 2, 3, None, 3]
    assert not kind.same("1", "2")
    assert script.asked == []


def test_open_cases_are_judged_once_shortest_first() -> None:
    script = Script(("x", "x^1"))
    kind = MathAnswers(script)
    answers = ["x^1", "2", "x"]
    assert not kind.instant(answers)
    tally = kind.tally(answers)
    assert tally.clusters == [0, 1, 0]
    assert tally.members == [[0, 2], [1]]
    assert script.asked == [("2", "x"), ("2", "x^1"), ("x", "x^1")]
    assert kind.same("x^1", "x")
    assert not kind.same("x", "2")
    assert len(script.asked) == 3


def test_without_a_judge_open_cases_differ() -> None:
    kind = MathAnswers()
    assert kind.instant(["x", "y"])
    assert kind.tally(["x", "x^1", "$x$"]).clusters == [0, 1, 0]
    assert not kind.same("x", "x^1")


def test_one_form_needs_no_judge() -> None:
    assert MathAnswers(Script()).instant(["x + y", "x  + y", None])


def test_rounded_decimals_meet_their_fraction() -> None:
    kind = MathAnswers(Script())
    assert kind.tally(["1/3", "0.333333", "0.333334"]).clusters == [0, 0, 1]
    assert kind.instant(["0.333333", "1/3"])


def test_judged_pairs_of_one_tally_are_bounded() -> None:
    script = Script()
    answers = [f"x + {i}" for i in range(64)]
    assert len(set(MathAnswers(script).tally(answers).clusters)) == 64
    assert len(script.asked) == MAX_JUDGED_PAIRS


def test_matches_finds_the_cluster_of_an_answer_from_outside() -> None:
    kind = MathAnswers(Script(("x", "x^1")))
    tally = kind.tally([None, "7", "x"])
    assert cluster_of(kind, tally, "7.0") == 0
    assert cluster_of(kind, tally, "x^1") == 1
    assert cluster_of(kind, tally, "8") is None


@given(st.permutations(["x", "x^1", "1*x", "2", "0.333333", "1/3", "y", None]))
def test_clusters_do_not_depend_on_order(answers) -> None:
    # not transitive on purpose: x ~ x^1 ~ 1*x, but not x ~ 1*x
    tally = MathAnswers(Script(("x", "x^1"), ("x^1", "1*x"))).tally(answers)
    together = {frozenset(answers[row] for row in rows) for rows in tally.members}
    assert together == {
        frozenset({"x", "x^1"}), frozenset({"1*x"}), frozenset({"2"}),
        frozenset({"1/3", "0.333333"}), frozenset({"y"}),
    }  # fmt: skip
    assert tally.clusters == [
        None if answer is None else next(i for i, rows in enumerate(tally.members) if row in rows)
        for row, answer in enumerate(answers)
    ]


@given(st.permutations(["$5", "5 dollars", "[5]", "\\$5"]))
def test_of_forms_with_one_text_the_shortest_is_judged(answers) -> None:
    script = Script(("$5", "[5]"))
    tally = MathAnswers(script).tally(answers)
    assert set(script.asked) == {("$5", "[5]")}
    assert len(tally.members) == 1


@given(st.permutations(["5", "x = 5 cm", "x = 5 m", "y = 5 cm"]))
def test_what_plainly_differs_shares_no_cluster(answers) -> None:
    equal = [("5", "x = 5"), ("5", "y = 5"), ("x = 5", "y = 5")]
    tally = MathAnswers(Script(*equal)).tally(answers)
    together = {frozenset(answers[row] for row in rows) for rows in tally.members}
    assert together == {frozenset({"5", "x = 5 m"}), frozenset({"x = 5 cm"}),
                        frozenset({"y = 5 cm"})}  # fmt: skip


@pytest.mark.timeout(300)
def test_published_pairs_are_graded_right(judge: MathJudge) -> None:
    """Facts from the test suites of math-verify and of NeMo-Skills' grader, in both orders."""
    kind = MathAnswers(judge)
    wrong = [
        (first, second)
        for rows in PAIRS.values()
        for first, second, equal in rows
        if not kind.same(first, second) == kind.same(second, first) == equal
    ]
    assert set(wrong) == MISSES
    assert len(wrong) <= 0.01 * sum(map(len, PAIRS.values()))
