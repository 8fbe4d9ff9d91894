"""Policy-gradient losses over one micro-batch, with their off-policy corrections.

Log-probabilities are natural and [N], one per completion token, sequence after sequence: `new`
carries the gradient, `old` is the trainer's value before its first step on the batch, `engine` the
engine's when it sampled, `base` that of the model without adapter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from adapter.trainer import Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class LossLimits:
    """Clip [1 - low, 1 + high] of new/old, cap of old/engine, weight of the KL to base."""

    low: float
    high: float
    importance_cap: float
    kl_coefficient: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Log-probabilities of S sequences with N tokens; `advantage` is [S], `lengths` has S items."""

    new: Tensor
    old: Tensor
    engine: Tensor
    base: Tensor
    advantage: Tensor
    lengths: Sequence[int]

    def by_token(self) -> Tensor:
        """Each token's advantage, [N]."""
        lengths = torch.tensor(self.lengths, device=self.advantage.device)
        return self.advantage.repeat_interleave(lengths)

    def means(self, values: Tensor) -> Tensor:
        """Mean over each sequence's tokens, [S]."""
        parts = cast("Sequence[Tensor]", values.split(list(self.lengths)))
        return torch.stack([part.mean() for part in parts])


@dataclass(frozen=True, slots=True)
class BatchSize:
    """Of the whole batch: tokens, sequences, and tokens that could have been generated."""

    tokens: int
    sequences: int
    capacity: int


def ppo(scores: Scores, limits: LossLimits) -> Tensor:
    """Clipped surrogate of PPO (1707.06347) with DAPO's asymmetric clip (2503.14476), [N]."""
    ratio = (scores.new - scores.old).exp()
    clipped = ratio.clamp(1 - limits.low, 1 + limits.high)
    advantage = scores.by_token()
    surrogate = torch.minimum(ratio * advantage, clipped * advantage)
    return -_importance(scores.old - scores.engine, limits) * surrogate


def cispo(scores: Scores, limits: LossLimits) -> Tensor:
    """REINFORCE with a detached, upper-clipped ratio: every token keeps its gradient, [N]
    (MiniMax-M1, 2506.13585)."""
    ratio = (scores.new - scores.old).exp().clamp(max=1 + limits.high).detach()
    weight = _importance(scores.old - scores.engine, limits) * ratio
    return -weight * scores.by_token() * scores.new


def reinforce(scores: Scores, limits: LossLimits) -> Tensor:
    """Advantage times log-probability, importance-weighted, without a clip, [N] (Williams 1992)."""
    return -_importance(scores.old - scores.engine, limits) * scores.by_token() * scores.new


def gspo(scores: Scores, limits: LossLimits) -> Tensor:
    """PPO's surrogate on length-normalised sequence ratios, [S] (GSPO, 2507.18071).

    Both ratios are geometric means over a sequence's tokens, far closer to 1 than a token's: the
    paper clips at 3e-4 and 4e-4.
    """
    ratio = scores.means(scores.new - scores.old).exp()
    clipped = ratio.clamp(1 - limits.low, 1 + limits.high)
    surrogate = torch.minimum(ratio * scores.advantage, clipped * scores.advantage)
    return -_importance(scores.means(scores.old - scores.engine), limits) * surrogate


Surrogate = Callable[[Scores, LossLimits], Tensor]

LOSSES: Mapping[str, tuple[Surrogate, Callable[[BatchSize], int]]] = {
    Loss.GRPO: (ppo, lambda size: size.tokens),
    Loss.DR_GRPO: (ppo, lambda size: size.capacity),
    Loss.CISPO: (cispo, lambda size: size.tokens),
    Loss.GSPO: (gspo, lambda size: size.sequences),
    Loss.REINFORCE: (reinforce, lambda size: size.tokens),
}
"""Surrogate, and the divisor of its sum over the batch. `grpo` is the token mean of TTRL and DAPO;
`dr_grpo` divides by a constant, so that long answers are not favoured (2503.20783)."""


def batch_loss(name: str, scores: Scores, limits: LossLimits, size: BatchSize) -> Tensor:
    """This micro-batch's part of the batch's loss; parts add up. KL is always a token mean."""
    surrogate, divisor = LOSSES[name]
    loss = surrogate(scores, limits).sum() / divisor(size)
    if limits.kl_coefficient:
        loss = loss + limits.kl_coefficient * kl_k3(scores.new, scores.base).sum() / size.tokens
    return loss


def kl_k3(new: Tensor, base: Tensor) -> Tensor:
    """Low-variance, never negative estimate of KL(new || base) per token, [N]."""
    gap = base - new
    return gap.exp() - gap - 1


def effective_sample_size(count: float, total: float, squares: float) -> float:
    """(sum w)^2 / (N sum w^2) of N raw importance weights, given their sum and the sum of their
    squares: 1 when all are equal."""
    return total**2 / (count * squares)


def _importance(gap: Tensor, limits: LossLimits) -> Tensor:
    """Truncated importance weights of trainer over engine (Ionides 2008), without gradient."""
    return gap.exp().clamp(max=limits.importance_cap).detach()
