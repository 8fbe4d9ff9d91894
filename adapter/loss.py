"""The policy-gradient loss per token, with its off-policy corrections."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LossLimits:
    """PPO clip [1 - low, 1 + high], cap of the trainer/engine ratio, weight of the KL to base."""

    low: float
    high: float
    importance_cap: float
    kl_coefficient: float


def token_losses(
    new: Tensor, old: Tensor, engine: Tensor, base: Tensor, advantage: Tensor, limits: LossLimits
) -> Tensor:
    """Loss of each token, [N]; all inputs are [N], log-probabilities natural.

    `new` carries the gradient; `old` is the trainer's own value before this step, `engine` what the
    engine reported when sampling, `base` the model without adapter. Clipped surrogate of PPO
    (1707.06347) with DAPO's asymmetric clip (2503.14476), truncated importance sampling between
    `old` and `engine`, and the k3 estimate of KL(new || base).
    """
    ratio = (new - old).exp()
    clipped = ratio.clamp(1 - limits.low, 1 + limits.high)
    surrogate = torch.minimum(ratio * advantage, clipped * advantage)
    importance = (old - engine).exp().clamp(max=limits.importance_cap)
    return -importance * surrogate + limits.kl_coefficient * kl_k3(new, base)


def kl_k3(new: Tensor, base: Tensor) -> Tensor:
    """Low-variance, never negative estimate of KL(new || base) per token, [N]."""
    gap = base - new
    return gap.exp() - gap - 1


def effective_sample_size(ratios: Tensor) -> float:
    """(sum w)^2 / (N sum w^2) of raw importance weights [N]: 1 when all are equal."""
    return float(ratios.sum() ** 2 / (len(ratios) * (ratios**2).sum()))
