"""What a reward estimator returns for one group, and the protocol of all estimators."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol

from rewards.answers.tally import Tally
from rewards.estimators.evidence import Evidence, Need
from rewards.rollouts import RolloutGroup


@dataclass(frozen=True, slots=True)
class Estimate:
    """One reward per rollout, in order.

    `label` is the answer the estimator believes in most, None if in none. `kept` lists the rollouts
    that take part in the advantage. What no standardisation cancels is done to the advantages
    afterwards: each is multiplied by `scale`; a rollout's `lift` times their mean absolute value is
    added to it; and `offset` to all.
    """

    rewards: Sequence[float]
    label: str | None
    kept: Sequence[int]
    stats: Mapping[str, float] = field(default_factory=dict[str, float])
    _: KW_ONLY
    offset: float = 0.0
    scale: float = 1.0
    lifts: Sequence[float] = ()

    @property
    def informative(self) -> bool:
        """Whether there is anything to learn: rewards that differ, or an offset."""
        kept = [self.rewards[row] for row in self.kept]
        return bool(kept) and (min(kept) < max(kept) or self.offset != 0.0)


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group, its estimate, and the name of the kind of its leading answer."""

    group: RolloutGroup
    estimate: Estimate
    kind: str = ""


class RewardEstimator(Protocol):
    """Turns the evidence of one group into rewards."""

    @property
    def needs(self) -> frozenset[Need]:
        """The evidence beside the tally that it requires."""
        ...

    def estimate(self, evidence: Evidence) -> Estimate:
        """Rewards of M rollouts. Raises MissingEvidence."""
        ...


def of_label(tally: Tally, answer: str | None, cluster: int | None) -> Estimate:
    """Reward 1 for the rollouts of `cluster`, 0 for all others."""
    rewards = [float(own is not None and own == cluster) for own in tally.clusters]
    return Estimate(rewards, answer, range(len(tally)), vote_stats(tally))


def of_rewards(tally: Tally, rewards: Sequence[float]) -> Estimate:
    """These rewards, but 0 for a missing answer. The label is the answer with the highest mean
    reward, the first one of several."""
    rewards = [
        0.0 if cluster is None else reward
        for reward, cluster in zip(rewards, tally.clusters, strict=True)
    ]
    means = [sum(rewards[row] for row in rows) / len(rows) for rows in tally.members]
    label = tally.labels[means.index(max(means))] if means else None
    return Estimate(rewards, label, range(len(tally)), vote_stats(tally))


def vote_stats(tally: Tally) -> dict[str, float]:
    """majority_ratio n(top)/M, the share of rollouts that answer, and how many answers differ."""
    sizes = [len(rows) for rows in tally.members]
    total = max(1, len(tally))
    return {
        "majority_ratio": max(sizes, default=0) / total,
        "answered": sum(sizes) / total,
        "distinct": float(len(sizes)),
    }
