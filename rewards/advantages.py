"""From rewards to advantages within one group."""

import math
from collections.abc import Callable, Mapping, Sequence

STD_FLOOR = 1e-6
"""Added to the standard deviation, as TTRL's recipe does."""


def grpo(rewards: Sequence[float]) -> list[float]:
    """(r - mean) / (std + 1e-6) with the unbiased standard deviation (DeepSeekMath, 2402.03300)."""
    centred = dr_grpo(rewards)
    if len(rewards) < 2:
        return centred
    std = math.sqrt(math.fsum(c * c for c in centred) / (len(rewards) - 1))
    return [c / (std + STD_FLOOR) for c in centred]


def dr_grpo(rewards: Sequence[float]) -> list[float]:
    """r - mean (Dr. GRPO, arXiv 2503.20783)."""
    if not rewards:
        return []
    mean = math.fsum(rewards) / len(rewards)
    return [reward - mean for reward in rewards]


def rloo(rewards: Sequence[float]) -> list[float]:
    """M / (M - 1) (r - mean): each reward against the mean of the others (arXiv 2402.14740)."""
    count = len(rewards)
    scale = count / (count - 1) if count > 1 else 0.0
    return [scale * c for c in dr_grpo(rewards)]


ADVANTAGES: Mapping[str, Callable[[Sequence[float]], list[float]]] = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
}
