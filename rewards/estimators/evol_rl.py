"""EVOL-RL: the majority selects, novelty keeps the variety (arXiv 2509.15194)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from rewards.answers.medoid import closeness_matrix
from rewards.estimators.estimate import Estimate, vote_stats
from rewards.estimators.evidence import Evidence, MissingEvidence, given, needing
from rewards.votes import take_vote

_NO_ANSWER = -1.0
_SAME = 1e-9
"""Novelties that differ by no more are the same."""


@dataclass(frozen=True, slots=True)
class EvolRl:
    """Above 0 for the majority's answer, below for all others, and more for what reads unlike the
    rest.

    Two sides: the rollouts of the majority's answer, and all others that have one. With s the mean
    closeness of a rollout to the others of its side (to all, if it is alone there) and m its
    closeness to whichever is closest on either side, its novelty is
    1 - w s - (1 - w) m, w = `mean_weight`; within each side novelty is then stretched to [0, 1].
    Rewards: 1 - `band` + band novelty for the majority, -1 + band novelty for others, -1 for no
    answer. A side whose novelties are equal gets the middle of its band, a rollout alone on its
    side the top.

    After the published code, which has both numbers fixed at 0.5 and compares embeddings of a
    second model; closeness here is that of the answer kind `text`, words in common. The method's
    other parts, an entropy bonus and a higher clip, are settings of the loss.
    """

    mean_weight: Annotated[float, Ge(0), Le(1)] = 0.5
    band: Annotated[float, Ge(0), Le(1)] = 0.5

    needs = needing("texts")

    def estimate(self, evidence: Evidence) -> Estimate:
        tally, texts = evidence.tally, given(evidence.texts, "texts")
        if len(texts) != len(tally):
            raise MissingEvidence(f"texts: {len(texts)} for {len(tally)} rollouts")
        vote = take_vote(tally)
        answered = [row for row, cluster in enumerate(tally.clusters) if cluster is not None]
        rewards = [_NO_ANSWER] * len(tally)
        near = closeness_matrix([texts[row] for row in answered]).tolist()
        won = [tally.clusters[row] == vote.cluster for row in answered]
        for side, top in ((True, 1.0), (False, -1.0 + self.band)):
            members = [at for at, own in enumerate(won) if own is side]
            novelty = _stretched([self._novelty(near[at], at, members) for at in members])
            for at, value in zip(members, novelty, strict=True):
                rewards[answered[at]] = top - self.band * (1 - value)
        return Estimate(rewards, vote.answer, range(len(tally)), vote_stats(tally))

    def _novelty(self, near: Sequence[float], at: int, members: Sequence[int]) -> float:
        others = [value for other, value in enumerate(near) if other != at] or [1.0]
        side = [near[other] for other in members if other != at] or others
        alike = math.fsum(side) / len(side)
        return 1 - self.mean_weight * alike - (1 - self.mean_weight) * max(others)


def _stretched(novelty: Sequence[float]) -> list[float]:
    """The least becomes 0 and the greatest 1; all 1/2 if they are the same, and one alone 1."""
    if len(novelty) < 2:
        return [1.0] * len(novelty)
    least, greatest = min(novelty), max(novelty)
    if greatest - least <= _SAME:
        return [0.5] * len(novelty)
    return [(value - least) / (greatest - least) for value in novelty]
