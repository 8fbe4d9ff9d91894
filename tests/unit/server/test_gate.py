from dataclasses import replace

import pytest

from rewards.ballot import answers_of
from rewards.equality import Equality
from rewards.rollouts import Rollout
from server.engine import Sample
from server.gate import GateLimits, PolicyStats, judge

LIMITS = GateLimits(max_kl=1.0, min_margin=0.2, min_diversity=0.7, max_drop=0.1, max_stretch=2.0)
GOOD = PolicyStats(agreement=0.6, margin=0.4, valid=0.95, diversity=0.9, length=12.0)


def sample(*answers: str) -> Sample:
    rollouts = [Rollout(rf"\boxed{{{a}}}" if a else "?", [1, 2], [-1, -1], "stop") for a in answers]
    return Sample([1], [{}] * len(answers), rollouts)


def measured(*samples: Sample) -> PolicyStats:
    ballots = [Equality().ballot(answers_of(sample.rollouts)) for sample in samples]
    return PolicyStats.of(samples, ballots)


def test_stats_by_hand() -> None:
    stats = measured(sample("1", "1", "2", ""), sample("3", "3", "3", "3"))
    assert stats.agreement == (0.5 + 1.0) / 2
    assert stats.margin == (0.25 + 1.0) / 2
    assert stats.valid == 7 / 8
    assert stats.diversity == pytest.approx(1.0)
    assert stats.length == 2.0


def test_one_answer_to_everything_has_least_diversity() -> None:
    constant = measured(*[sample("1", "1")] * 8)
    assert constant.diversity == pytest.approx(1 / 8)
    silent = measured(*[sample("", "")] * 8)
    assert (silent.diversity, silent.agreement) == (pytest.approx(1 / 8), 0.0)


def test_an_honest_step_passes() -> None:
    verdict = judge(replace(GOOD, agreement=0.65), GOOD, GOOD, 0.1, LIMITS)
    assert verdict.passed
    assert verdict.numbers["gate/candidate/agreement"] == 0.65


@pytest.mark.parametrize(
    ("change", "kl", "reason"),
    [
        ({"diversity": 0.5}, 0.1, "collapse"),
        ({"agreement": 0.45}, 0.1, "agreement fell"),
        ({"valid": 0.8}, 0.1, "answered share"),
        ({"length": 30.0}, 0.1, "length"),
        ({"length": 5.0}, 0.1, "length"),
        ({}, 1.5, "KL"),
        ({}, float("nan"), "KL"),
        ({"diversity": float("nan")}, 0.1, "collapse"),
    ],
)
def test_each_bound_rejects(change: dict[str, float], kl: float, reason: str) -> None:
    verdict = judge(replace(GOOD, **change), GOOD, GOOD, kl, LIMITS)
    assert not verdict.passed
    assert reason in verdict.reason


def test_a_base_that_knows_nothing_never_teaches_itself() -> None:
    ignorant = replace(GOOD, margin=0.05, agreement=0.2)
    verdict = judge(replace(GOOD, agreement=0.99), ignorant, ignorant, 0.01, LIMITS)
    assert not verdict.passed
    assert "too little" in verdict.reason
