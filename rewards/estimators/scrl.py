"""SCRL: labels on clear consensus, negative labels for rare answers (arXiv 2603.19880)."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from rewards.estimators.estimate import Estimate, vote_stats
from rewards.estimators.evidence import Evidence, mean, needing
from rewards.votes import take_vote

_NO_ANSWER = -1.0
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Scrl:
    """Selective positive and entropy-gated negative labels.

    With p(a) = n(a)/M, H(a) the mean entropy (nats) of a's rollouts and Hbar that of all rollouts
    with an answer: the top answer is the positive label if p >= `consensus` and it leads the second
    by more than `margin`; an answer is negative if p < `rare` and H >= Hbar. Rewards: positive
    p - w (H - Hbar), negative (p - rare) - w (H - Hbar), others -w (H - Hbar), with w =
    `entropy_weight`; no answer: -1.

    The published code has consensus 0.5, margin and rare 0.15 as defaults, means Hbar over all
    rollouts, and its "binary" mode leaves the sizes out; the paper's 3/8, 1/8 and 1/8 are ours.
    Without a clear consensus there is no label, but the other rewards stand.
    """

    consensus: Annotated[float, Ge(0), Le(1)] = 0.375
    margin: Annotated[float, Ge(0), Le(1)] = 0.125
    rare: Annotated[float, Ge(0), Le(1)] = 0.125
    entropy_weight: Annotated[float, Ge(0)] = 0.1

    needs = needing("entropies")

    def estimate(self, evidence: Evidence) -> Estimate:
        tally = evidence.tally
        entropies = evidence.numbers("entropies")
        vote = take_vote(tally)
        rewards: list[float] = []
        label: str | None = None
        negatives = 0
        overall = mean(entropies, [r for rows in tally.members for r in rows]) if vote.valid else 0
        for cluster, rows in enumerate(tally.members):
            share, entropy = len(rows) / len(tally), mean(entropies, rows)
            reward = -self.entropy_weight * (entropy - overall)
            if cluster == vote.cluster and share >= self.consensus and vote.margin > self.margin:
                label = vote.answer
                reward += share
            elif share < self.rare and entropy >= overall - _ROUNDING:
                negatives += 1
                reward += share - self.rare
            rewards.append(reward)
        stats = vote_stats(tally) | {"negatives": float(negatives)}
        return Estimate(tally.per_rollout(rewards, _NO_ANSWER), label, range(len(tally)), stats)
