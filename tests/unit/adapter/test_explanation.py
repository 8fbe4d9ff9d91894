"""Why a version was accepted or turned away, in words."""

import math

import pytest

from adapter.explanation import explanation
from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.releases import AdapterRelease

NUMBERS = {
    "against_parent/mean": -0.02, "against_parent/error": 0.01, "against_parent/queries": 192.0,
    "against_parent/sure": 3.0, "against_parent/margin": 0.05, "against_parent/needed": 1.8,
    "slices/lowest": -0.6, "slices/compared": 5.0,
}  # fmt: skip


def release(*steps: StepVerdict, passed: bool = False) -> AdapterRelease:
    candidate = AdapterRelease(7, 0, "f", "s", [], {}, 0.0)
    if passed:
        return candidate.promoted("not worse", list(steps))
    return candidate.rejected(steps[-1].reason, list(steps)) if steps else candidate


def test_a_rejection_says_where_how_sure_and_what_to_do() -> None:
    where = {"reference": "base", "slice": "client:ab", "lost": ["q1", "q2"]}
    verdict = turned_away(
        Step.TRIAL, Cause.SLICE, "the slice of one client is worse", NUMBERS, **where
    )
    text = explanation(release(StepVerdict(Step.FILES, passed=True), verdict))
    assert text.splitlines() == [
        "v7 is rejected: the slice of one client is worse",
        "  files: passed, 0.0 s",
        "  trial: turned away, 0.0 s",
        "    against its parent: -0.020 +- 0.010 over 192 queries; "
        "3.0 standard errors above -0.05, 1.8 needed",
        "    lowest of 5 slices: -0.600",
        "    cause: slice",
        "    reference: base",
        "    slice: client:ab",
        "    lost queries: q1 q2",
        "    what to do: Look at the slice's queries; they may be too few among those learnt from.",
    ]


def test_a_pass_says_whether_it_is_the_best_now() -> None:
    verdict = StepVerdict(
        Step.TRIAL, passed=True, numbers={**NUMBERS, "better": 1.0, "tokens": 2e4}
    )
    text = explanation(release(verdict, passed=True))
    assert "what to do" not in text
    assert "20,000 tokens were drawn for it" in text
    assert text.endswith("proven better than the best version before it")


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_advice(cause: Cause) -> None:
    assert "what to do: " in explanation(release(turned_away(Step.TRIAL, cause, "because")))


def test_a_candidate_and_a_record_of_before_are_explained_too() -> None:
    assert explanation(release()) == "v7 is candidate: not judged yet"
    old = StepVerdict.from_record(
        {"step": "trial", "passed": False, "reason": "worse", "cause": "worse",
         "numbers": {"against_parent/mean": -0.2}, "seconds": 1.0}
    )  # fmt: skip
    assert "cause: worse" in explanation(release(old))


def test_numbers_that_json_has_not_are_left_out() -> None:
    """Where no query differs the error is 0, and how sure that makes is infinite."""
    alike = {**NUMBERS, "against_parent/error": 0.0, "against_parent/sure": math.inf}
    passed = release(StepVerdict(Step.TRIAL, passed=True, numbers=alike), passed=True)
    again = AdapterRelease.from_json(passed.to_json())
    assert explanation(again) == explanation(passed)
    assert "-0.020 +- 0.000 over 192 queries\n" in explanation(again)
    kept = {
        "step": "trial",
        "passed": True,
        "cause": None,
        "numbers": {"against_parent/sure": None},
    }
    assert StepVerdict.from_record(kept).numbers == {}
