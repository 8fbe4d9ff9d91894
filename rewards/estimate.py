"""What an estimator returns for one group, and the seam all estimators share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Estimate:
    """One reward per rollout, in order.

    `label` is the answer the estimator believes in, None if it has none: such a group is skipped.
    `kept` lists the rollouts that take part in the advantage; all of them unless some were dropped.
    """

    rewards: Sequence[float]
    label: str | None
    kept: Sequence[int]
    stats: Mapping[str, float] = field(default_factory=dict[str, float])


class RewardEstimator(Protocol):
    """Turns one prompt's answers into rewards without knowing the truth."""

    @property
    def needs_entropy(self) -> bool:
        """Whether `entropies` must be given."""
        ...

    def estimate(
        self, answers: Sequence[str | None], entropies: Sequence[float] | None = None
    ) -> Estimate:
        """Rewards for M rollouts; `entropies` holds each rollout's mean token entropy in nats."""
        ...
