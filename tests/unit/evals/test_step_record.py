"""What is kept of an update, by a group worked out by hand."""

import pytest

from evals.arithmetic.practice import Step
from evals.arithmetic.questions import Question
from evals.experiments.methods import TARGET, _crossing
from evals.experiments.step_record import record_of
from rewards.answers.math_answers import MathAnswers
from rewards.estimators.estimate import ScoredGroup
from rewards.estimators.evidence import Evidence
from rewards.estimators.majority import Majority
from rewards.rollouts import Rollout, RolloutGroup, Sampling


def scored(*rollouts: tuple[str, float]) -> ScoredGroup:
    """Rollouts as answer and entropy."""
    several = [Rollout(rf"\boxed{{{a}}}", [1, 2, 3], [], "stop", entropy=h) for a, h in rollouts]
    group = RolloutGroup("g", "p", [1], several, 0, Sampling(), "", 0.0)
    tally = MathAnswers().tally([answer for answer, _ in rollouts])
    return ScoredGroup(group, Majority().estimate(Evidence(tally)))


def record(truth: str, *rollouts: tuple[str, float]) -> dict[str, float]:
    step = Step([scored(*rollouts)], {"kl": 0.5}, {"sample": 1.0, "reward": 2.0, "update": 3.0})
    return dict(record_of(step, [Question("g", "p", truth, 1, "addition")]))


def test_a_wrong_majority_still_gives_right_rewards() -> None:
    # Majority 1 of 4 is "7"; truth "8": rollouts 7,7 are rewarded wrongly, 8 too, 9 rightly.
    found = record("8", ("7", 0.1), ("7", 0.1), ("8", 0.2), ("9", 0.2))
    assert (found["avg"], found["maj"], found["label_accuracy"]) == (0.25, 0.0, 0.0)
    assert found["reward_accuracy"] == 0.25
    assert found["agreement"] == 0.5
    assert (found["tokens"], found["correlation"], found["kl"]) == (3, 1.0, 0.5)
    assert found["seconds/reward"] == 2.0
    # the truth has one rollout only: too few to say what entropy says of it
    assert found["confidently_wrong"] == found["uncertainly_right"] == 0


def test_confidently_wrong_and_what_it_costs() -> None:
    """The wrong answer is surer; the vote is right; DARE follows 2 / 0.06 against 3 / 0.35."""
    found = record("8", *[("8", 0.30)] * 3, *[("7", 0.01)] * 2)
    assert found["confidently_wrong"] == 1
    assert found["uncertainly_right"] == 1  # 0.30 is more than the group's mean
    assert found["vote/confidently_wrong"] == 1
    assert found["dare/confidently_wrong"] == 0
    assert found["dare_label_accuracy"] == 0


def test_the_crossing_lies_between_two_looks() -> None:
    base = {"scores": {"0": {"avg": TARGET - 0.4}}}
    curve = {"curve": [[5, TARGET - 0.1, 0], [10, TARGET + 0.1, 0]]}
    assert _crossing(curve, base) == pytest.approx(7.5)
    assert _crossing({"curve": [[5, TARGET - 0.1, 0]]}, base) is None
