"""Rewards that follow the model's certainty, by hand: DeepConf's vote, INTUITOR, RLPR."""

import math

import pytest

from rewards.estimators.confidence import ConfidenceMajority, Rlpr, SelfCertainty
from rewards.estimators.evidence import MissingEvidence
from tests.unit.rewards.tallies import evidence


def test_confident_rollouts_weigh_more() -> None:
    votes = evidence(["A", "B", "A"], confidences=[1.0, 2.5, 1.0])
    estimate = ConfidenceMajority(keep=1).estimate(votes)
    assert (estimate.rewards, estimate.label) == ([0, 1, 0], "B")
    even = evidence(["A", "B", "A"], confidences=[1.0, 1.0, 1.0])
    assert ConfidenceMajority(keep=1).estimate(even).label == "A"


def test_only_the_best_fraction_votes_but_all_are_rewarded() -> None:
    votes = evidence(["A", "A", "A", "B", "B"], confidences=[1.0, 1.1, 1.2, 2.0, 1.9])
    assert ConfidenceMajority(keep=1).estimate(votes).label == "B"  # 3.3 against 3.9
    votes = evidence(["A", "A", "A", "B", "B"], confidences=[1.4, 1.3, 1.5, 2.0, 1.2])
    assert ConfidenceMajority(keep=1).estimate(votes).label == "A"  # 4.2 against 3.2
    # .4 of 5: the two best, B 2.0 and A 1.5
    estimate = ConfidenceMajority(keep=0.4).estimate(votes)
    assert (estimate.rewards, estimate.label) == ([0, 0, 0, 1, 1], "B")
    # .41 of 5 is 3 voters: A 2.9
    assert ConfidenceMajority(keep=0.41).estimate(votes).label == "A"
    assert ConfidenceMajority().keep == 0.9


def test_ties_in_confidence_and_weight_go_to_the_first() -> None:
    votes = evidence(["A", "B"], confidences=[1.0, 1.0])
    assert ConfidenceMajority(keep=0.5).estimate(votes).label == "A"
    assert ConfidenceMajority(keep=1).estimate(votes).label == "A"


def test_silent_rollouts_neither_vote_nor_earn() -> None:
    votes = evidence([None, "B"], confidences=[math.nan, 1.0])
    estimate = ConfidenceMajority().estimate(votes)
    assert (estimate.rewards, estimate.label) == ([0, 1], "B")
    nobody = ConfidenceMajority().estimate(evidence([None], confidences=[1.0]))
    assert (nobody.rewards, nobody.label) == ([0], None)
    with pytest.raises(MissingEvidence, match="confidences are needed"):
        ConfidenceMajority().estimate(evidence(["A"]))


def test_self_certainty_is_the_reward() -> None:
    votes = evidence(["A", "B", None], self_certainties=[1.5, 2.0, 9.0])
    estimate = SelfCertainty().estimate(votes)
    assert (estimate.rewards, estimate.label) == ([1.5, 2.0, 0.0], "B")
    affine = SelfCertainty(form="affine", vocab_size=4).estimate(votes)
    assert affine.rewards == pytest.approx([1.5 + math.log(4), 2.0 + math.log(4), 0.0])
    assert SelfCertainty().needs == {"self_certainties"}


def test_the_label_is_the_answer_of_the_highest_mean_reward() -> None:
    votes = evidence(["A", "B", "A"], self_certainties=[3.0, 2.0, 0.5])
    assert SelfCertainty().estimate(votes).label == "B"  # 1.75 against 2


def test_rlpr_rewards_the_probability_of_the_reference() -> None:
    votes = evidence(["A", "B", "A", None], reference_probabilities=[0.5, 0.9, 0.1, 1.0])
    estimate = Rlpr().estimate(votes)
    assert (estimate.rewards, estimate.label) == ([0.5, 0.9, 0.1, 0.0], "A")
    assert estimate.stats["majority_ratio"] == 0.5
    assert Rlpr().needs == {"reference_probabilities"}
