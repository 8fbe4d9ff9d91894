"""What turns a candidate away at first sight."""

from dataclasses import replace

import pytest

from adapter.store.judgement import Cause
from rewards.answers.math_answers import MathAnswers
from rewards.answers.tally import Tally
from rewards.votes import take_vote
from server.policy.limits import GateLimits, change_alarm, learning_alarm
from server.policy.stats import PolicyStats, VoteRecord

LIMITS = GateLimits(max_kl=1.0, min_margin=0.2, min_diversity=0.7, max_drop=0.1, max_stretch=2.0)
GOOD = PolicyStats(agreement=0.6, margin=0.4, valid=0.95, diversity=0.9, length=12.0)


def record(*answers: str | None, tokens: int = 8) -> VoteRecord:
    tally: Tally = MathAnswers().tally(answers)
    return VoteRecord.of(take_vote(tally), tokens)


def test_stats_by_hand() -> None:
    stats = PolicyStats.of([record("1", "1", "2", None), record("3", "3", "3", "3", tokens=16)])
    assert stats.agreement == (0.5 + 1.0) / 2
    assert stats.margin == (0.25 + 1.0) / 2
    assert stats.valid == 7 / 8
    assert stats.diversity == pytest.approx(1.0)
    assert stats.length == 3.0


def test_one_answer_to_everything_has_least_diversity() -> None:
    assert PolicyStats.of([record("1", "1")] * 8).diversity == pytest.approx(1 / 8)
    silent = PolicyStats.of([record(None, None)] * 8)
    assert (silent.diversity, silent.agreement) == (pytest.approx(1 / 8), 0.0)


def test_an_honest_step_raises_no_alarm() -> None:
    assert learning_alarm(GOOD, 0.1, LIMITS) is None
    assert change_alarm(replace(GOOD, agreement=0.65), GOOD, LIMITS, GOOD) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"diversity": 0.5}, "answers collapse"),
        ({"diversity": float("nan")}, "answers collapse"),
        ({"agreement": 0.45}, "agreement fell"),
        ({"valid": 0.8}, "answered share"),
        ({"length": 30.0}, "mean length"),
        ({"length": 5.0}, "mean length"),
    ],
)
def test_each_bound_raises_an_alarm(change: dict[str, float], reason: str) -> None:
    alarm = change_alarm(replace(GOOD, **change), GOOD, LIMITS)
    assert alarm is not None
    assert alarm.reason.startswith(reason)
    assert alarm.cause in (
        Cause.COLLAPSE, Cause.AGREEMENT, Cause.ANSWERED_SHARE, Cause.LENGTH
    )  # fmt: skip


def test_diversity_and_length_are_compared_with_the_anchor() -> None:
    drifted = replace(GOOD, diversity=0.6, length=20.0)
    assert change_alarm(drifted, drifted, LIMITS) is None
    alarm = change_alarm(drifted, drifted, LIMITS, anchor=GOOD)
    assert alarm is not None and alarm.cause is Cause.COLLAPSE


@pytest.mark.parametrize("kl", [1.5, float("nan")])
def test_far_from_base_nothing_is_learnt(kl: float) -> None:
    alarm = learning_alarm(GOOD, kl, LIMITS)
    assert alarm is not None and alarm.cause is Cause.FAR_FROM_BASE


def test_a_base_that_knows_nothing_never_teaches_itself() -> None:
    alarm = learning_alarm(replace(GOOD, margin=0.05), 0.01, LIMITS)
    assert alarm is not None and alarm.cause is Cause.IGNORANT_BASE
