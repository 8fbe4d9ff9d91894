"""Random rewards: the control that every gain without labels has to beat (arXiv 2506.10947)."""

import random
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from rewards.estimators.estimate import Estimate, vote_stats
from rewards.estimators.evidence import Evidence, needing


@dataclass(frozen=True, slots=True)
class RandomReward:
    """1 with chance `share`, else 0, whatever a rollout says: a control, which teaches nothing.

    Rollouts without an answer are left out of the advantage, or the control would teach to answer.
    No answer is believed in, so there is no label. Another `seed` gives other rewards to the same
    rollouts; the same seed the same ones.
    """

    share: Annotated[float, Ge(0), Le(1)] = 0.5
    seed: int = 0

    needs = needing("noise")

    def estimate(self, evidence: Evidence) -> Estimate:
        tally, drawn = evidence.tally, evidence.numbers("noise")
        kept = [row for row, cluster in enumerate(tally.clusters) if cluster is not None]
        rewards = [0.0] * len(tally)
        for row in kept:
            chance = random.Random(f"{self.seed}:{drawn[row]!r}").random()
            rewards[row] = float(chance < self.share)
        return Estimate(rewards, None, kept, vote_stats(tally))
