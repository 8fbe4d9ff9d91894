"""The numbers of an adaptation."""

import pytest

from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from adapter.store.releases import AdapterRelease
from evals.adaptation_report import release_numbers


def release(version: int, learnt: float) -> AdapterRelease:
    return AdapterRelease(version, 0, "f", "s", [], {"completions/tokens": learnt}, 0.0)


def test_what_judging_costs_counts_every_candidate_and_what_was_learnt_the_promoted() -> None:
    tried = StepVerdict(Step.TRIAL, passed=True, numbers={"tokens": 300.0})
    guarded = StepVerdict(Step.GUARDS, passed=True, numbers={"tokens": 60.0})
    promoted = release(1, 800.0).promoted("", [tried, guarded])
    lost = turned_away(Step.TRIAL, Cause.WORSE, "worse", {"tokens": 140.0})
    found = release_numbers([promoted, release(2, 900.0).rejected("worse", [lost])], {})
    assert (found["versions"], found["rejected"]) == (1, 1)
    assert (found["judging_tokens"], found["learnt_tokens"]) == (500, 800)
    assert found["judging_per_learnt"] == pytest.approx(0.625)


def test_without_a_promoted_version_there_is_no_ratio() -> None:
    assert release_numbers([release(1, 800.0)], {})["judging_per_learnt"] is None
