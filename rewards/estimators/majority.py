"""Rewards by counting answers: hard and soft majority vote, and labels from elsewhere."""

from dataclasses import dataclass

from rewards.estimators.estimate import Estimate, of_label, of_rewards
from rewards.estimators.evidence import Evidence, Need, needing
from rewards.votes import take_vote


@dataclass(frozen=True, slots=True)
class Majority:
    """TTRL: 1 for agreeing with the majority, else 0 (arXiv 2504.16084, equations 2 and 3).

    Without any answer there is no label and nothing to learn. With `soft`, an answer that is nearly
    the majority's gets nearly 1: the share of its fields, for JSON and tool calls, that have the
    value of most rollouts; for prose, how close it is to the others on average.
    """

    soft: bool = False

    @property
    def needs(self) -> frozenset[Need]:
        return needing("closeness") if self.soft else needing()

    def estimate(self, evidence: Evidence) -> Estimate:
        if self.soft:
            return of_rewards(evidence.tally, evidence.numbers("closeness"))
        vote = take_vote(evidence.tally)
        return of_label(evidence.tally, vote.answer, vote.cluster)


@dataclass(frozen=True, slots=True)
class SoftMajority:
    """EMPO's share of the vote as reward, n(a)/M (arXiv 2504.05812).

    Rollouts without an answer count in M as a cluster of their own and get 0. DARE with equal
    entropies, alpha 0 and no pruning gives the same advantages.
    """

    needs = needing()

    def estimate(self, evidence: Evidence) -> Estimate:
        tally = evidence.tally
        return of_rewards(tally, tally.per_rollout([len(m) / len(tally) for m in tally.members]))


@dataclass(frozen=True, slots=True)
class CoReward:
    """CO-REWARDING-I: a question and its paraphrase label each other (arXiv 2508.00410).

    1 for agreeing with the majority of the paraphrase's rollouts: a bias towards one wording is not
    confirmed by the other. Takes twice the rollouts.
    """

    needs = needing("paraphrase")

    def estimate(self, evidence: Evidence) -> Estimate:
        label = evidence.label("paraphrase")
        return of_label(evidence.tally, label.answer, label.cluster)


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """1 for the true answer, else 0: the labelled baseline, for evaluation only."""

    needs = needing("truth")

    def estimate(self, evidence: Evidence) -> Estimate:
        label = evidence.label("truth")
        return of_label(evidence.tally, label.answer, label.cluster)
