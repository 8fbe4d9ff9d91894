"""DARE's reward: the uncertainty-weighted answer distribution, a bonus for rare certain answers,
and pruning of improbable ones (arXiv 2601.21804). Open points of the paper are options here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rewards.answers import canonical
from rewards.estimate import Estimate


@dataclass(frozen=True, slots=True)
class Dare:
    """Distribution-aware reward estimation.

    u(a) is the mean token entropy (nats) over the rollouts that answer a, n(a) their number:
    p(a) = [n(a) / (u(a) + eps)] / sum, b(a) = (1 - n(a)/M)(1 - u(a)), r = p + alpha b. Answers with
    p < tau are pruned; p, n, u and b are then recomputed over the survivors.

    `eps`: a tiny one lets a single zero-entropy rollout win everything.
    `tau`: None means 1.5 / M. The paper never ablates it.
    `normalise`: "answers" sums over distinct answers; "rollouts" is the paper's literal sum over
    k = 1..M, which puts p on a 1/M scale and lets the bonus dominate.
    `uncertainty`: how u enters the bonus: "clip" to [0, 1]; "raw" (can turn the bonus negative);
    "exp" (e^-u for 1 - u); "vocab" (u / ln |V|).
    `pruned`: "zero" gives pruned rollouts 0, "drop" leaves them out of the advantage.
    """

    eps: float = 0.05
    alpha: float = 0.1
    tau: float | None = None
    normalise: Literal["answers", "rollouts"] = "answers"
    uncertainty: Literal["clip", "raw", "exp", "vocab"] = "clip"
    pruned: Literal["zero", "drop"] = "zero"
    vocab_size: int = 151_936
    needs_entropy: bool = True

    def estimate(
        self, answers: Sequence[str | None], entropies: Sequence[float] | None = None
    ) -> Estimate:
        """Rewards of M rollouts. Raises ValueError without one finite entropy per rollout."""
        total = len(answers)
        if entropies is None or len(entropies) != total:
            raise ValueError("dare needs one entropy per rollout; set entropy to exact or topk")
        members: dict[str, list[int]] = {}
        for index, answer in enumerate(answers):
            if answer is not None:
                members.setdefault(canonical(answer), []).append(index)
        if not all(math.isfinite(entropies[i]) for rows in members.values() for i in rows):
            raise ValueError("dare needs finite entropies")
        nothing = Estimate([0.0] * total, None, range(total))
        if not members:
            return nothing
        tau = 1.5 / total if self.tau is None else self.tau
        first = self._distribution(members, entropies)
        survivors = {a: rows for a, rows in members.items() if first[a] >= tau}
        if not survivors:
            return nothing
        final = self._distribution(survivors, entropies)
        alive = sum(map(len, survivors.values()))
        rewards = [0.0] * total
        for answer, rows in survivors.items():
            bonus = self._bonus(len(rows) / alive, _mean(rows, entropies))
            for row in rows:
                rewards[row] = final[answer] + self.alpha * bonus
        best = max(survivors, key=final.__getitem__)
        kept = sorted(row for rows in survivors.values() for row in rows)
        return Estimate(
            rewards,
            answers[survivors[best][0]],
            kept if self.pruned == "drop" else range(total),
            {
                "majority_ratio": max(map(len, members.values())) / total,
                "pruned_share": 1 - alive / sum(map(len, members.values())),
            },
        )

    def _distribution(
        self, members: Mapping[str, Sequence[int]], entropies: Sequence[float]
    ) -> dict[str, float]:
        """p(a) over the given answers. Entropies of zero with eps 0 count as the smallest float."""
        weight = {
            answer: len(rows) / max(_mean(rows, entropies) + self.eps, 1e-300)
            for answer, rows in members.items()
        }
        scale = {a: len(rows) if self.normalise == "rollouts" else 1 for a, rows in members.items()}
        largest = max(weight.values())
        normaliser = sum(scale[a] * (w / largest) for a, w in weight.items())
        return {a: (w / largest) / normaliser for a, w in weight.items()}

    def _bonus(self, share: float, u: float) -> float:
        certainty = {
            "clip": 1 - min(max(u, 0.0), 1.0),
            "raw": 1 - u,
            "exp": math.exp(-u),
            "vocab": 1 - u / math.log(self.vocab_size),
        }[self.uncertainty]
        return (1 - share) * certainty


def _mean(rows: Sequence[int], entropies: Sequence[float]) -> float:
    return sum(entropies[row] for row in rows) / len(rows)
