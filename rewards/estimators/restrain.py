"""RESTRAIN: soft pseudo-labels, and a penalty without agreement (arXiv 2510.02172)."""

import math
from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge, Gt, Le

from rewards.estimators.estimate import Estimate, of_rewards
from rewards.estimators.evidence import Evidence, needing


@dataclass(frozen=True, slots=True)
class Restrain:
    """Soft pseudo-labels, and a uniform penalty where agreement is low.

    Each answer's reward is its weight w(a) = g(p(a)) / sum of g, with p(a) = n(a)/M and the bell
    g(p) = exp(-(1 - p)^2 / (2 sigma^2)): the larger `sigma`, the more a minority counts; the
    smaller, the closer to a hard vote. The paper asks for a monotone g and mixes one loss per
    answer; a single reward per rollout has the same expectation up to each loss's own scale.

    If the top answer has less than `min_share` of the rollouts there is no label: all rewards are 0
    and every advantage of the group is -`penalty` (the paper's negative rollouts; 3 of 16).
    """

    sigma: Annotated[float, Gt(0)] = 0.5
    min_share: Annotated[float, Ge(0), Le(1)] = 0.1875
    penalty: Annotated[float, Ge(0)] = 1.0

    needs = needing()

    def estimate(self, evidence: Evidence) -> Estimate:
        tally = evidence.tally
        total, members = len(tally), tally.members
        if not members or max(map(len, members)) < self.min_share * total:
            nothing = replace(of_rewards(tally, [0.0] * total), label=None)
            return replace(nothing, offset=-self.penalty) if members else nothing
        exponents = [-((1 - len(m) / total) ** 2) / (2 * self.sigma**2) for m in members]
        bell = [math.exp(exponent - max(exponents)) for exponent in exponents]
        total = math.fsum(bell)
        return of_rewards(tally, tally.per_rollout([height / total for height in bell]))
