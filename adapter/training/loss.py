"""Policy-gradient losses over one micro-batch, with their off-policy corrections.

Log-probabilities are natural and [N], one per completion token, sequence after sequence: `new`
carries the gradient, `old` is the trainer's value before its first step on the batch, `engine` the
engine's when it sampled, `base` that of the model without adapter.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from adapter.trainer import Loss

KL_LIMIT = 10.0
"""Nats that one token's KL estimate counts at most (verl's `low_var_kl`)."""
_GAP_LIMIT = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LossLimits:
    """Clip [1 - low, 1 + high] of new/old, cap of old/engine, weight of the KL to base. A token is
    masked where old/engine leaves [1/importance_mask, importance_mask], a sequence where the
    geometric mean of its tokens' old/engine leaves [1/sequence_mask, sequence_mask]."""

    low: float
    high: float
    importance_cap: float
    kl_coefficient: float
    importance_mask: float = math.inf
    sequence_mask: float = math.inf


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
        return self.spread(self.advantage)

    def spread(self, values: Tensor) -> Tensor:
        """Each sequence's value [S] at each of its tokens, [N]."""
        lengths = torch.tensor(self.lengths, device=values.device)
        return values.repeat_interleave(lengths)

    def sums(self, values: Tensor) -> Tensor:
        """Sum over each sequence's tokens, [S]."""
        parts = cast("Sequence[Tensor]", values.split(list(self.lengths)))
        return torch.stack([part.sum() for part in parts])

    def means(self, values: Tensor, kept: Tensor) -> Tensor:
        """Mean over those of each sequence's tokens that are kept [N], [S]; 0 where none is."""
        return self.sums(values * kept) / self.sums(kept.to(values)).clamp(min=1.0)


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
    return -_importance(scores, limits) * surrogate


def cispo(scores: Scores, limits: LossLimits) -> Tensor:
    """REINFORCE with a detached, upper-clipped ratio: every token keeps its gradient, [N]
    (MiniMax-M1, 2506.13585)."""
    ratio = (scores.new - scores.old).exp().clamp(max=1 + limits.high).detach()
    weight = _importance(scores, limits) * ratio
    return -weight * scores.by_token() * scores.new


def reinforce(scores: Scores, limits: LossLimits) -> Tensor:
    """Advantage times log-probability, importance-weighted, without a clip, [N] (Williams 1992)."""
    return -_importance(scores, limits) * scores.by_token() * scores.new


def gspo(scores: Scores, limits: LossLimits) -> Tensor:
    """PPO's surrogate on length-normalised sequence ratios, [S] (GSPO, 2507.18071).

    Both ratios are geometric means over a sequence's tokens, far closer to 1 than a token's: the
    paper clips at 3e-4 and 4e-4. Masked tokens have no part in them.
    """
    kept, _ = kept_tokens(scores, limits)
    ratio = scores.means(scores.new - scores.old, kept).exp()
    clipped = ratio.clamp(1 - limits.low, 1 + limits.high)
    surrogate = torch.minimum(ratio * scores.advantage, clipped * scores.advantage)
    weight = _capped(scores.means(scores.old - scores.engine, kept), limits)
    return -weight * (scores.sums(kept.to(weight)) > 0) * surrogate


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
    """This micro-batch's part of the batch's loss; parts add up. KL is always a token mean. Masked
    tokens have no gradient, but divisors count them: they belong to the batch."""
    surrogate, divisor = LOSSES[name]
    loss = surrogate(scores, limits).sum() / divisor(size)
    if limits.kl_coefficient:
        kept, _ = kept_tokens(scores, limits)
        kl = kl_k3(scores.new, scores.base) * kept
        loss = loss + limits.kl_coefficient * kl.sum() / size.tokens
    return loss


def kept_tokens(scores: Scores, limits: LossLimits) -> tuple[Tensor, Tensor]:
    """Which tokens [N] and which sequences [S] are learnt from: old/engine is inside the bounds.

    Beyond them engine and trainer do not speak of the same policy, so a capped weight would still
    be wrong. Masked like this by prime-rl (`token_mask`, `geo_mask`) and verl (`rollout_rs`).
    """
    gap = (scores.old - scores.engine).detach()
    everything = torch.ones_like(gap, dtype=torch.bool)
    whole = scores.means(gap, everything).abs() <= math.log(limits.sequence_mask)
    return (gap.abs() <= math.log(limits.importance_mask)) & scores.spread(whole), whole


def kl_k3(new: Tensor, base: Tensor) -> Tensor:
    """Low-variance, never negative estimate of KL(new || base) per token, [N], at most KL_LIMIT:
    else one token that base finds far likelier decides the mean."""
    gap = (base - new).clamp(-_GAP_LIMIT, _GAP_LIMIT)
    return (gap.exp() - gap - 1).clamp(max=KL_LIMIT)


def effective_sample_size(count: float, total: float, squares: float) -> float:
    """(sum w)^2 / (N sum w^2) of N raw importance weights, given their sum and the sum of their
    squares: 1 when all are equal."""
    return total**2 / (count * squares)


def _importance(scores: Scores, limits: LossLimits) -> Tensor:
    """Importance weights of trainer over engine, truncated (Ionides 2008) and 0 where masked, [N],
    without gradient."""
    kept, _ = kept_tokens(scores, limits)
    return _capped(scores.old - scores.engine, limits) * kept


def _capped(gap: Tensor, limits: LossLimits) -> Tensor:
    return gap.exp().clamp(max=limits.importance_cap).detach()
