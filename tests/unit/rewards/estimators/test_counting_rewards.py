"""Rewards that follow counts of answers, by hand: majority, soft majority, outside labels, SCRL,
RESTRAIN."""

import math

import pytest

from rewards.advantages import dr_grpo, grpo, rloo
from rewards.estimators.estimate import Estimate
from rewards.estimators.evidence import MissingEvidence
from rewards.estimators.majority import CoReward, GroundTruth, Majority, SoftMajority
from rewards.estimators.restrain import Restrain
from rewards.estimators.scrl import Scrl
from tests.unit.rewards.tallies import evidence

ANSWERS = ["A"] * 4 + ["B"] * 3 + ["C"]
ENTROPIES = [0.4] * 4 + [0.2] * 3 + [0.8]


def near(*values: float) -> object:
    return pytest.approx(list(values), abs=1e-6)


def test_majority_rewards_and_advantages() -> None:
    estimate = Majority().estimate(evidence(ANSWERS))
    assert estimate.rewards == [1, 1, 1, 1, 0, 0, 0, 0]
    assert (estimate.label, estimate.offset, list(estimate.kept)) == ("A", 0.0, list(range(8)))
    assert estimate.stats == {"majority_ratio": 0.5, "answered": 1.0, "distinct": 3.0}
    assert grpo([estimate.rewards], [])[0] == near(*[0.935413] * 4, *[-0.935413] * 4)
    assert rloo([estimate.rewards], [])[0] == near(*[0.571429] * 4, *[-0.571429] * 4)
    assert dr_grpo([estimate.rewards], [])[0] == near(*[0.5] * 4, *[-0.5] * 4)


def test_majority_never_rewards_a_missing_answer() -> None:
    estimate = Majority().estimate(evidence([None, None, "3"]))
    assert estimate.rewards == [0, 0, 1]
    assert estimate.stats["answered"] == pytest.approx(1 / 3)
    nobody = Majority().estimate(evidence([None, None]))
    assert (nobody.rewards, nobody.label, nobody.informative) == ([0, 0], None, False)
    nothing = Majority().estimate(evidence([]))
    assert (nothing.rewards, nothing.stats["majority_ratio"]) == ([], 0.0)
    assert Majority().estimate(evidence(["1"])).stats["majority_ratio"] == 1.0


def test_a_soft_majority_s_reward_is_how_close_an_answer_comes() -> None:
    soft = Majority(soft=True)
    assert (soft.needs, Majority().needs) == ({"closeness"}, frozenset())
    estimate = soft.estimate(evidence(["A", "B", None], closeness=[1.0, 0.5, 0.9]))
    assert (list(estimate.rewards), estimate.label) == ([1.0, 0.5, 0.0], "A")
    with pytest.raises(MissingEvidence, match="closeness"):
        soft.estimate(evidence(["A"]))


def test_only_groups_whose_rewards_differ_inform() -> None:
    assert Majority().estimate(evidence(["1", "2", "1"])).informative
    assert not Majority().estimate(evidence(["1", "1.0"])).informative
    assert not Estimate([1.0, 0.0], "1", [0]).informative
    assert Estimate([0.0, 0.0], None, [0, 1], offset=-1.0).informative
    assert not Estimate([], None, [], offset=-1.0).informative


def test_soft_majority_is_the_share_of_all_rollouts() -> None:
    estimate = SoftMajority().estimate(evidence(["A", "A", "B", None]))
    assert estimate.rewards == [0.5, 0.5, 0.25, 0.0]
    assert estimate.label == "A"
    assert SoftMajority().estimate(evidence(["B", "A"])).label == "B"
    assert SoftMajority().estimate(evidence([None])).label is None


def test_a_paraphrase_labels_the_question() -> None:
    estimate = CoReward().estimate(evidence(["1", "1", "2", None], paraphrase="2.0"))
    assert (estimate.rewards, estimate.label) == ([0, 0, 1, 0], "2.0")
    nobody = CoReward().estimate(evidence(["1", None], paraphrase="9"))
    assert (nobody.rewards, nobody.label) == ([0, 0], "9")
    with pytest.raises(MissingEvidence, match="paraphrase is needed"):
        CoReward().estimate(evidence(["1"], truth="1"))
    assert CoReward().needs == {"paraphrase"}


def test_the_truth_as_label() -> None:
    estimate = GroundTruth().estimate(evidence(["1", "1", "1/2", None], truth="0.5"))
    assert (estimate.rewards, estimate.label) == ([0, 0, 1, 0], "0.5")
    with pytest.raises(MissingEvidence, match="truth is needed"):
        GroundTruth().estimate(evidence(["1"], paraphrase="1"))
    assert GroundTruth().needs == {"truth"}


def scrl(answers, entropies, **options) -> Estimate:
    return Scrl(**options).estimate(evidence(answers, entropies=entropies))


def test_scrl_without_a_clear_lead_has_no_label() -> None:
    # shares .5 .375 .125: the lead of .125 is not more than .125; Hbar .375
    estimate = scrl(ANSWERS, ENTROPIES)
    assert estimate.rewards == near(*[-0.0025] * 4, *[0.0175] * 3, -0.0425)
    assert estimate.label is None
    assert estimate.stats["negatives"] == 0
    assert estimate.informative


def test_scrl_positive_and_negative() -> None:
    # Hbar .42; A .6 + .012, B -.008, C (.1 - .125) - .048
    estimate = scrl(["A"] * 6 + ["B"] * 3 + ["C"], [0.3] * 6 + [0.5] * 3 + [0.9])
    assert estimate.rewards == near(*[0.612] * 6, *[-0.008] * 3, -0.073)
    assert estimate.label == "A"
    assert estimate.stats["negatives"] == 1
    both = scrl(["A"] * 8 + ["B", "C"], [0.3] * 8 + [0.9] * 2)
    assert both.stats["negatives"] == 2


def test_scrl_a_rare_answer_of_low_entropy_is_not_negative() -> None:
    # Hbar .37; C: -.1 (.1 - .37) only
    estimate = scrl(["A"] * 9 + ["C"], [0.4] * 9 + [0.1])
    assert estimate.rewards == near(*[0.9 - 0.003] * 9, 0.027)
    even = scrl(["A"] * 9 + ["C"], [0.4] * 10)
    assert even.rewards == near(*[0.9] * 9, -0.025)


def test_scrl_consensus_bounds() -> None:
    at = scrl(["A"] * 3 + ["B", "B", "C", "D", "E"], [0.3] * 8, margin=0.1)
    assert at.label == "A"  # .375 is enough
    below = scrl(["A"] * 3 + ["B", "B", "C", "D", "E"], [0.3] * 8, margin=0.1, consensus=0.38)
    assert below.label is None
    loud = scrl(["A", "B"], [0.2, 0.4], entropy_weight=1.0)
    assert loud.rewards == near(0.1, -0.1)
    wide = scrl(["A", "A", "B"], [0.2, 0.2, 0.2], rare=0.5)
    assert wide.rewards == near(2 / 3, 2 / 3, 1 / 3 - 0.5)


def test_scrl_a_missing_answer_costs_one() -> None:
    # the silent rollout's entropy has no part in Hbar
    estimate = scrl(["A", None], [0.2, 9.0])
    assert estimate.rewards == near(0.5, -1.0)
    assert scrl([None, None], [0.2, 9.0]).rewards == [-1.0, -1.0]
    assert not scrl([None, None], [0.2, 9.0]).informative


def restrain(answers, **options) -> Estimate:
    return Restrain(**options).estimate(evidence(answers))


def test_restrain_weighs_answers_by_a_bell_of_their_share() -> None:
    # g = e^-.125 and e^-1.125: the ratio is e, so 1/(1 + e^-1)
    estimate = restrain(["A", "A", "A", "B"])
    assert estimate.rewards == near(*[0.731059] * 3, 0.268941)
    assert (estimate.label, estimate.offset) == ("A", 0.0)
    # sigma 1: e^-.03125 and e^-.28125, ratio e^.25
    assert restrain(["A", "A", "A", "B"], sigma=1).rewards == near(*[0.562177] * 3, 0.437823)


def test_restrain_punishes_what_nobody_agrees_on() -> None:
    scattered = restrain([str(i) for i in range(16)])
    assert (list(scattered.rewards), scattered.label, scattered.offset) == ([0] * 16, None, -1.0)
    assert scattered.informative
    three = restrain(["A"] * 3 + [str(i) for i in range(13)])
    assert (three.label, three.offset) == ("A", 0.0)
    two = restrain(["A"] * 2 + [str(i) for i in range(14)], penalty=0.5)
    assert (two.label, two.offset) == (None, -0.5)
    assert restrain(["A", "B"], min_share=0.6).offset == -1.0


def test_restrain_missing_answers_count_in_the_shares_and_get_nothing() -> None:
    # shares .5 .25 of four: g = e^-.5, e^-1.125, ratio e^.625
    assert restrain(["A", "A", "B", None]).rewards == near(*[0.651355] * 2, 0.348645, 0)
    silent = restrain([None, None])
    assert (list(silent.rewards), silent.label, silent.offset) == ([0, 0], None, 0.0)
    assert not silent.informative
    assert math.isfinite(sum(restrain(["A"] * 2 + ["B"], sigma=1e-3).rewards))
