"""Learning that has locked in is paused."""

import pytest

from adapter.store.judgement import Step, StepVerdict
from adapter.store.releases import AdapterRelease
from server.promotion.lock_in import locked_in


def promoted(version: int, majority: float, flipped: float) -> AdapterRelease:
    numbers = {"changes/majority": majority, "changes/flipped": flipped}
    steps = [StepVerdict(Step.TRIAL, passed=True, numbers=numbers)]
    return AdapterRelease(version, version - 1, "f", "s", [], {}, 0.0).promoted("", steps)


def test_three_versions_that_are_sure_and_no_longer_change() -> None:
    sure = [promoted(version, 0.99, 0.0) for version in (1, 2, 3)]
    why = locked_in(sure, 0.98)
    assert why is not None and why.startswith("locked in: the rollouts of the last 3 versions")
    assert locked_in(sure, 0.995) is None
    assert locked_in(sure, 1.0) is None
    assert locked_in(sure[1:], 0.98) is None


@pytest.mark.parametrize("other", [promoted(4, 0.9, 0.0), promoted(4, 0.99, 0.1)])
def test_the_last_ones_count(other: AdapterRelease) -> None:
    sure = [promoted(version, 0.99, 0.0) for version in (1, 2, 3)]
    assert locked_in([*sure, other], 0.98) is None
    assert locked_in([other, *[promoted(v, 0.99, 0.0) for v in (5, 6, 7)]], 0.98) is not None


def test_who_was_judged_before_there_were_such_numbers_does_not_count() -> None:
    old = AdapterRelease(3, 2, "f", "s", [], {}, 0.0).promoted("", [])
    sure = [promoted(version, 0.99, 0.0) for version in (1, 2)]
    assert locked_in([*sure, old], 0.98) is None
    rejected = AdapterRelease(4, 2, "f", "s", [], {}, 0.0).rejected("worse", [])
    assert locked_in([*sure, promoted(3, 0.99, 0.0), rejected], 0.98) is not None
