"""DARE's reward: the uncertainty-weighted answer distribution, a bonus for rare certain answers,
and pruning of improbable ones (arXiv 2601.21804). Open points of the paper are options here."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from rewards.estimators.estimate import Estimate, vote_stats
from rewards.estimators.evidence import Evidence, Need, Signal, mean, needing
from rewards.token_signals import QWEN_VOCABULARY

_SMALLEST = 1e-300
"""In place of u + eps = 0: a certain answer outweighs any other without a division by 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dare:
    """Distribution-aware reward estimation.

    u(a) is the mean token entropy (nats) over the rollouts that answer a, n(a) their number:
    p(a) = [n(a) / (u(a) + eps)] / sum, b(a) = (1 - n(a)/M)(1 - u(a)), r = p + alpha b. Answers with
    p < tau are pruned; p, n, u and b are then recomputed over the survivors.

    `eps`: a tiny one lets a single zero-entropy rollout win everything.
    `tau`: None means 1.5 / M. The paper never ablates it. If nothing reaches it, nothing is learnt.
    `normalise`: "answers" sums over distinct answers; "rollouts" is the paper's literal sum over
    k = 1..M for the survivors, which puts p on a 1/M scale and lets the bonus dominate. What is
    compared with tau is always summed over answers.
    `uncertainty`: how u enters the bonus: "clip" to [0, 1]; "raw" (can turn the bonus negative);
    "exp" (e^-u for 1 - u); "vocab" (u / ln |V|).
    `pruned`: "zero" gives pruned rollouts 0, "drop" leaves them out of the advantage.
    `entropy`: "exact" from the trainer's own pass, "topk" estimated from the engine's top-k.
    """

    eps: Annotated[float, Ge(0)] = 0.05
    alpha: Annotated[float, Ge(0), Le(1)] = 0.1
    tau: Annotated[float, Ge(0), Le(1)] | None = None
    normalise: Literal["answers", "rollouts"] = "answers"
    uncertainty: Literal["clip", "raw", "exp", "vocab"] = "clip"
    pruned: Literal["zero", "drop"] = "zero"
    entropy: Literal["exact", "topk"] = "exact"
    vocab_size: Annotated[int, Gt(1)] = QWEN_VOCABULARY

    def __post_init__(self) -> None:
        if self.normalise == "rollouts":
            warnings.warn(
                "normalise=rollouts can rank the minority above the majority", stacklevel=3
            )

    @property
    def needs(self) -> frozenset[Need]:
        return needing(self._signal)

    @property
    def _signal(self) -> Signal:
        return "entropies" if self.entropy == "exact" else "topk_entropies"

    def estimate(self, evidence: Evidence) -> Estimate:
        tally = evidence.tally
        entropies = evidence.numbers(self._signal)
        total, members = len(tally), tally.members
        tau = 1.5 / max(1, total) if self.tau is None else self.tau
        first = self._distribution(members, entropies, "answers")
        survivors = [rows for rows, p in zip(members, first, strict=True) if p >= tau]
        final = self._distribution(survivors, entropies, self.normalise)
        alive = sum(map(len, survivors))
        rewards = [0.0] * total
        for rows, p in zip(survivors, final, strict=True):
            bonus = (1 - len(rows) / alive) * self._certainty(mean(entropies, rows))
            for row in rows:
                rewards[row] = p + self.alpha * bonus
        kept = sorted(row for rows in survivors for row in rows)
        return Estimate(
            rewards,
            tally.answers[survivors[final.index(max(final))][0]] if survivors else None,
            kept if self.pruned == "drop" else range(total),
            vote_stats(tally) | {"pruned": (sum(map(len, members)) - alive) / max(1, total)},
        )

    def _distribution(
        self,
        clusters: Sequence[Sequence[int]],
        entropies: Sequence[float],
        over: Literal["answers", "rollouts"],
    ) -> list[float]:
        """p of each given cluster."""
        weights = [
            len(rows) / max(mean(entropies, rows) + self.eps, _SMALLEST) for rows in clusters
        ]
        largest = max(weights, default=1.0)
        weights = [weight / largest for weight in weights]
        normaliser = math.fsum(
            weight * (len(rows) if over == "rollouts" else 1)
            for rows, weight in zip(clusters, weights, strict=True)
        )
        return [weight / normaliser for weight in weights]

    def _certainty(self, u: float) -> float:
        match self.uncertainty:
            case "clip":
                return 1 - min(max(u, 0.0), 1.0)
            case "raw":
                return 1 - u
            case "exp":
                return math.exp(-u)
            case "vocab":
                return 1 - u / math.log(self.vocab_size)
