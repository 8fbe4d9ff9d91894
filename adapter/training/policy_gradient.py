"""The gradient of one batch, in micro-batches, and its metrics."""

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor

from adapter.trainer import TrainingGroup
from adapter.training.loss import (
    BatchSize,
    LossLimits,
    Scores,
    batch_loss,
    effective_sample_size,
    kept_tokens,
    kl_k3,
)
from adapter.training.memory.guard import MemoryGuard
from adapter.training.ranks import Ranks
from adapter.training.token_scores import (
    PromptBatch,
    TokenSequence,
    micro_batches,
    padded_tokens,
    score_tokens,
    tokens_once,
)
from rewards.rollouts import Sampling

_SAMPLE_TOKENS, _MOST_SAMPLE_TOKENS = 1 << 10, 1 << 16
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
"""Multiples of it, modulo 1, are spread evenly however many there are."""


@dataclass(frozen=True, slots=True)
class Row:
    """One rollout to learn from; `engine` has its sampling log-probabilities, one per token."""

    sequence: TokenSequence
    engine: Sequence[float]
    advantage: float
    sampling: Sampling
    group: str = ""


def rows_of(batch: Sequence[TrainingGroup]) -> list[Row]:
    """The rollouts of a batch that have an advantage and at least one token."""
    return [
        Row(
            TokenSequence(tg.group.prompt_ids, rollout.token_ids),
            rollout.logprobs,
            advantage,
            tg.group.sampling,
            tg.group.id,
        )
        for tg in batch
        for rollout, advantage in zip(tg.group.rollouts, tg.advantages, strict=True)
        if advantage is not None and len(rollout.token_ids)
    ]


def size_of(rows: Sequence[Row]) -> BatchSize:
    """Sizes of a batch. The longest completion stands for a limit that was not set."""
    lengths = [len(row.sequence.completion) for row in rows]
    longest = max(lengths, default=0)
    limits = [row.sampling.max_tokens or longest for row in rows]
    return BatchSize(sum(lengths), len(rows), sum(limits))


def sample_of(rows: Sequence[Row]) -> list[int]:
    """Rows spread over the batch with an eighth of its completion tokens, but at least 1,024 of
    them if it has so many, and at most 65,536; never none."""
    lengths = [len(row.sequence.completion) for row in rows]
    budget = min(max(sum(lengths) // 8, _SAMPLE_TOKENS), _MOST_SAMPLE_TOKENS)
    order = sorted(range(len(rows)), key=lambda row: row * _GOLDEN_RATIO % 1)
    reached = accumulate(lengths[row] for row in order)
    return [row for row, sum_ in zip(order, reached, strict=True) if sum_ <= budget] or order[:1]


class PolicyGradient:
    """Accumulates gradients of one loss on a model whose adapter can be switched off."""

    def __init__(
        self,
        *,
        model: Any,
        without_adapter: Callable[[], AbstractContextManager[Any]],
        loss: str,
        limits: LossLimits,
        micro_batch_tokens: int,
        ranks: Ranks | None = None,
    ) -> None:
        self._model, self._without_adapter = model, without_adapter
        self._loss, self._limits = loss, limits
        self.micro_batch_tokens, self._ranks = micro_batch_tokens, ranks or Ranks()
        self._old: dict[int, Tensor] = {}
        self._base: dict[int, Tensor] = {}

    def backward(self, rows: Sequence[Row], device: torch.device) -> dict[str, float]:
        """Add this rank's share of the batch's gradient to the parameters'. Returns metrics of the
        whole batch. The first call on a batch stores the log-probabilities that later ones clip
        against; `forget` ends the batch. Raises OutOfMemory on all ranks alike."""
        size = size_of(rows)
        sums = torch.zeros(10, dtype=torch.float64, device=device)
        greatest = torch.full((3,), -torch.inf, dtype=torch.float64, device=device)
        parts = self._micro_batches(rows)
        guard = MemoryGuard(self._ranks, device)

        def learn(members: Sequence[int], weight: float) -> None:
            mine = [rows[index] for index in members]
            scores, entropy = self._scores(mine, members, device)
            loss = weight * batch_loss(self._loss, scores, self._limits, size)
            loss.backward()  # pyright: ignore[reportUnknownMemberType]
            if weight:
                gap = scores.old - scores.engine
                sums.add_(self._summed(scores, gap, loss.detach(), entropy))
                torch.maximum(greatest, _extremes(gap), out=greatest)

        for members, weight in self._ranks.share(parts, parts[0][:1]):
            tokens = padded_tokens([rows[index].sequence for index in members])
            guard.attempt(members, tokens, functools.partial(learn, members, weight))
        guard.settle([row.group for row in rows])
        self._ranks.add([sums])
        self._ranks.greatest(greatest)
        return self._metrics(
            size, cast("list[float]", sums.tolist()), cast("list[float]", greatest.tolist())
        )

    @torch.no_grad()
    def drift(self, rows: Sequence[Row], device: torch.device) -> float:
        """KL to base of the weights as they are now: mean nats over the tokens of `sample_of` the
        batch, which an older policy sampled, hence weighted by new/engine up to the cap. Costs a
        forward pass over them; with several ranks another, of base."""
        total = torch.zeros(2, dtype=torch.float64, device=device)
        order = sample_of(rows)
        sample = [rows[index] for index in order]
        parts = self._micro_batches(sample)
        for members, weight in self._ranks.share(parts, parts[0][:1]):
            mine = [sample[at] for at in members]
            padded = PromptBatch.of([row.sequence for row in mine], device)
            temperature = mine[0].sampling.temperature
            new, _ = score_tokens(self._model, padded, temperature)
            if self._ranks.count > 1:  # another rank may have had these rows
                self._base = {}
            base = self._base_scores(padded, [order[at] for at in members], temperature)
            ratio = (new - _engine_values(mine, new)).exp().clamp(max=self._limits.importance_cap)
            kl = (ratio * kl_k3(new, base)).double()
            total += weight * torch.stack([kl.sum(), kl.new_tensor(len(kl))])
        self._ranks.add([total])
        return float(total[0] / total[1])

    def forget(self) -> None:
        """End the batch."""
        self._old, self._base = {}, {}

    def _metrics(
        self, size: BatchSize, sums: Sequence[float], greatest: Sequence[float]
    ) -> dict[str, float]:
        """By TRL's names where it has one; importance ratios are before the cap."""
        loss, dropped, *others = sums
        entropy, low, high, gap, raw, squares, capped, masked = (n / size.tokens for n in others)
        widest, least, most = greatest
        return {
            "loss": loss,
            "entropy": entropy,
            "clip_ratio/low_mean": low,
            "clip_ratio/high_mean": high,
            "clip_ratio/region_mean": low + high,
            "sampling/sampling_logp_difference/mean": gap,
            "sampling/sampling_logp_difference/max": widest,
            "sampling/importance_sampling_ratio/mean": raw,
            "sampling/importance_sampling_ratio/min": -least,
            "sampling/importance_sampling_ratio/max": most,
            "importance/clipped": capped,
            "importance/dropped_sequences": dropped / size.sequences,
            "importance/effective_sample_size": effective_sample_size(
                size.tokens, raw * size.tokens, squares * size.tokens
            ),
            "rollout_corr/rollout_rs_masked_fraction": masked,
            "tokens": float(size.tokens),
        }

    def _summed(self, scores: Scores, gap: Tensor, loss: Tensor, entropy: Tensor) -> Tensor:
        """[10]: terms of the metrics, summed over a micro-batch's tokens."""
        new, limits = scores.new.detach(), self._limits
        raw, ratio, advantage = gap.double().exp(), (new - scores.old).exp(), scores.by_token()
        kept, whole = kept_tokens(scores, limits)
        sums = [
            loss,
            (~whole).sum(),
            entropy.sum(),
            ((ratio < 1 - limits.low) & (advantage < 0)).sum(),
            ((ratio > 1 + limits.high) & (advantage > 0)).sum(),
            gap.abs().sum(),
            raw.sum(),
            (raw**2).sum(),
            (raw > limits.importance_cap).sum(),
            (~kept).sum(),
        ]
        return torch.stack([value.double() for value in sums])

    def _scores(
        self, rows: Sequence[Row], members: Sequence[int], device: torch.device
    ) -> tuple[Scores, Tensor]:
        padded = PromptBatch.of([row.sequence for row in rows], device)
        temperature = rows[0].sampling.temperature
        new, entropy = score_tokens(self._model, padded, temperature)
        base = (
            self._base_scores(padded, members, temperature)
            if self._limits.kl_coefficient
            else new.detach()
        )
        lengths = [len(row.sequence.completion) for row in rows]
        parts = cast("Sequence[Tensor]", new.detach().split(lengths))
        for index, part in zip(members, parts, strict=True):
            self._old.setdefault(index, part)
        old = torch.cat([self._old[index] for index in members])
        engine = _engine_values(rows, new)
        advantage = torch.tensor([row.advantage for row in rows], dtype=torch.float64).to(new)
        scores = Scores(
            new=new, old=old, engine=engine, base=base, advantage=advantage, lengths=lengths
        )
        return scores, entropy

    @torch.no_grad()
    def _base_scores(
        self, batch: PromptBatch, members: Sequence[int], temperature: float
    ) -> Tensor:
        """Base's log-probabilities of rows `members`, computed once a batch."""
        if not all(index in self._base for index in members):
            with self._without_adapter():
                found, _ = score_tokens(self._model, batch, temperature)
            parts = cast("Sequence[Tensor]", found.split(batch.real.sum(dim=1).tolist()))
            self._base.update(zip(members, parts, strict=True))
        return torch.cat([self._base[index] for index in members])

    def _micro_batches(self, rows: Sequence[Row]) -> list[list[int]]:
        """Row indices in groups of one temperature and at most the token budget."""
        budget = self._ranks.budget(
            self.micro_batch_tokens, tokens_once([row.sequence for row in rows])
        )
        by_temperature: dict[float, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            by_temperature[row.sampling.temperature].append(index)
        return [
            [members[at] for at in part]
            for members in by_temperature.values()
            for part in micro_batches([rows[index].sequence for index in members], budget)
        ]


def _engine_values(rows: Sequence[Row], like: Tensor) -> Tensor:
    """The engine's log-probabilities of all tokens, [N]."""
    return torch.tensor([value for row in rows for value in row.engine]).to(like)


def _extremes(gap: Tensor) -> Tensor:
    """[3]: greatest |gap|, -least and greatest e^gap."""
    raw = gap.exp()
    return torch.stack([gap.abs().max(), -raw.min(), raw.max()]).double()
