"""From the rewards of a batch of groups to one advantage per rollout."""

import math
from collections.abc import Callable, Mapping, Sequence

from rewards.estimators.estimate import Estimate

EPSILON = 1e-6
"""Added to every standard deviation, as TTRL's recipe does."""

Rows = Sequence[Sequence[float]]
"""One sequence per group, one number per rollout."""
Counts = Sequence[Sequence[int]]
"""Tokens of each rollout, in rows likewise."""
Advantages = list[list[float]]


def grpo(rewards: Rows, tokens: Counts, std_floor: float = 0.0) -> Advantages:
    """(r - mean) / (std + 1e-6) within each group, std unbiased (DeepSeekMath, arXiv 2402.03300).

    `std_floor` bounds std from below: soft rewards that hardly differ are mostly noise, which a
    division by their tiny std would amplify.
    """
    return [_standardised(row, std_floor) for row in rewards]


def dr_grpo(rewards: Rows, tokens: Counts, std_floor: float = 0.0) -> Advantages:
    """r - mean within each group (Dr. GRPO, arXiv 2503.20783)."""
    return [_centred(row) for row in rewards]


def rloo(rewards: Rows, tokens: Counts, std_floor: float = 0.0) -> Advantages:
    """Each reward less the mean of the others: M / (M - 1) (r - mean), 0 for a single rollout
    (arXiv 2402.14740)."""
    return [[len(row) / max(1, len(row) - 1) * value for value in _centred(row)] for row in rewards]


def reinforce(rewards: Rows, tokens: Counts, std_floor: float = 0.0) -> Advantages:
    """The reward itself, without a baseline (Williams 1992)."""
    return [list(row) for row in rewards]


def reinforce_pp(rewards: Rows, tokens: Counts, std_floor: float = 0.0) -> Advantages:
    """Whitened over all tokens of the batch: long rollouts weigh more in mean and std (REINFORCE++,
    arXiv 2501.03262)."""
    return _whitened(rewards, tokens, std_floor)


def reinforce_pp_baseline(
    rewards: Rows, tokens: Counts, std_floor: float = 0.0
) -> list[list[float]]:
    """r - group mean, then whitened over all tokens of the batch (REINFORCE++-baseline)."""
    return _whitened([_centred(row) for row in rewards], tokens, std_floor)


Advantage = Callable[[Rows, Counts, float], Advantages]

ADVANTAGES: Mapping[str, Advantage] = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "reinforce": reinforce,
    "reinforce_pp": reinforce_pp,
    "reinforce_pp_baseline": reinforce_pp_baseline,
}


def advantages_of(
    estimates: Sequence[Estimate],
    tokens: Counts,
    advantage: Advantage,
    *,
    std_floor: float = 0.0,
    clip: float | None = None,
) -> list[list[float | None]]:
    """One advantage per rollout of a batch of estimates; None for rollouts that are left out. Each
    estimate's scale, lifts and offset change its group's advantages; then all are clipped to
    [-clip, clip]."""
    raw = advantage(
        [[estimate.rewards[row] for row in estimate.kept] for estimate in estimates],
        [[counts[row] for row in e.kept] for e, counts in zip(estimates, tokens, strict=True)],
        std_floor,
    )
    bound = math.inf if clip is None else clip
    result: list[list[float | None]] = []
    for estimate, values in zip(estimates, raw, strict=True):
        by_rollout: list[float | None] = [None] * len(estimate.rewards)
        scaled = [estimate.scale * value for value in values]
        size = math.fsum(map(abs, scaled)) / max(1, len(scaled))
        for row, value in zip(estimate.kept, scaled, strict=True):
            lift = estimate.lifts[row] * size if estimate.lifts else 0.0
            by_rollout[row] = min(max(value + lift + estimate.offset, -bound), bound)
        result.append(by_rollout)
    return result


def _centred(row: Sequence[float]) -> list[float]:
    mean = math.fsum(row) / len(row) if row else 0.0
    return [value - mean for value in row]


def _standardised(row: Sequence[float], std_floor: float) -> list[float]:
    centred = _centred(row)
    variance = math.fsum(value * value for value in centred) / max(1, len(row) - 1)
    std = max(math.sqrt(variance), std_floor)
    return [value / (std + EPSILON) for value in centred]


def _whitened(rows: Rows, tokens: Counts, std_floor: float) -> Advantages:
    pairs = [
        (value, weight)
        for row, weights in zip(rows, tokens, strict=True)
        for value, weight in zip(row, weights, strict=True)
    ]
    total = sum(weight for _, weight in pairs)
    if not total:
        return [[0.0] * len(row) for row in rows]
    mean = math.fsum(value * weight for value, weight in pairs) / total
    squares = math.fsum((value - mean) ** 2 * weight for value, weight in pairs)
    std = max(math.sqrt(squares / max(1, total - 1)), std_floor)
    return [[(value - mean) / (std + EPSILON) for value in row] for row in rows]
