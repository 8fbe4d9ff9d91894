"""The gradient of one batch, in micro-batches, and what is worth knowing about it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from adapter.loss import BatchSize, LossLimits, Scores, batch_loss, effective_sample_size, kl_k3
from adapter.token_scores import PromptBatch, TokenSequence, micro_batches, score_tokens
from adapter.trainer import TrainingGroup


@dataclass(frozen=True, slots=True)
class Row:
    """One rollout to learn from. `engine` has its sampling log-probabilities, one per token."""

    sequence: TokenSequence
    engine: Sequence[float]
    advantage: float
    temperature: float
    max_tokens: int


def rows_of(batch: Sequence[TrainingGroup]) -> list[Row]:
    """The rollouts of a batch that have an advantage and at least one token."""
    return [
        Row(
            TokenSequence(tg.group.prompt_ids, rollout.token_ids),
            rollout.logprobs,
            advantage,
            tg.group.sampling.temperature,
            tg.group.sampling.max_tokens,
        )
        for tg in batch
        for rollout, advantage in zip(tg.group.rollouts, tg.advantages, strict=True)
        if advantage is not None and len(rollout.token_ids)
    ]


def size_of(rows: Sequence[Row]) -> BatchSize:
    """Sizes of a batch. Where no limit was set, the longest completion stands for it."""
    lengths = [len(row.sequence.completion) for row in rows]
    longest = max(lengths, default=0)
    limits = [row.max_tokens or longest for row in rows]
    return BatchSize(sum(lengths), len(rows), sum(limits))


class PolicyGradient:
    """Accumulates gradients of one loss on a model whose adapter can be switched off."""

    def __init__(
        self,
        model: Any,
        without_adapter: Callable[[], AbstractContextManager[Any]],
        loss: str,
        limits: LossLimits,
        micro_batch_tokens: int,
    ) -> None:
        self._model, self._without_adapter = model, without_adapter
        self._loss, self._limits = loss, limits
        self._micro_batch_tokens = micro_batch_tokens
        self._old: dict[int, Tensor] = {}

    def backward(self, rows: Sequence[Row], device: torch.device) -> dict[str, float]:
        """Add this batch's gradient to the parameters'; returns metrics.

        The first call on a batch remembers the log-probabilities that later ones clip against;
        `forget` ends the batch.
        """
        size = size_of(rows)
        sums: dict[str, float] = defaultdict(float)
        gaps: list[Tensor] = []
        for members in self._micro_batches(rows):
            mine = [rows[index] for index in members]
            scores, entropy = self._scores(mine, members, device)
            loss = batch_loss(self._loss, scores, self._limits, size)
            loss.backward()  # pyright: ignore[reportUnknownMemberType]
            new = scores.new.detach()
            gaps.append(scores.old - scores.engine)
            ratio, advantage = (new - scores.old).exp(), scores.by_token()
            low = (ratio < 1 - self._limits.low) & (advantage < 0)
            high = (ratio > 1 + self._limits.high) & (advantage > 0)
            sums["clip_ratio/low_mean"] += float(low.sum()) / size.tokens
            sums["clip_ratio/high_mean"] += float(high.sum()) / size.tokens
            sums["clip_ratio/region_mean"] += float((low | high).sum()) / size.tokens
            sums["loss"] += float(loss.detach())
            sums["entropy"] += float(entropy.sum()) / size.tokens
            sums["kl"] += float(kl_k3(new, scores.base).sum()) / size.tokens
        gap = torch.cat(gaps)
        ratios = gap.exp()
        return {
            **sums,
            # TRL's names; the ratios are as they are, before the cap.
            "sampling/sampling_logp_difference/mean": float(gap.abs().mean()),
            "sampling/sampling_logp_difference/max": float(gap.abs().max()),
            "sampling/importance_sampling_ratio/mean": float(ratios.mean()),
            "sampling/importance_sampling_ratio/min": float(ratios.min()),
            "sampling/importance_sampling_ratio/max": float(ratios.max()),
            "importance/clipped": float((ratios > self._limits.importance_cap).float().mean()),
            "importance/effective_sample_size": effective_sample_size(ratios),
            "tokens": float(size.tokens),
        }

    def forget(self) -> None:
        """The next batch is another one."""
        self._old = {}

    def _scores(
        self, rows: Sequence[Row], members: Sequence[int], device: torch.device
    ) -> tuple[Scores, Tensor]:
        padded = PromptBatch.of([row.sequence for row in rows], device)
        temperature = rows[0].temperature
        new, entropy = score_tokens(self._model, padded, temperature)
        with torch.no_grad(), self._without_adapter():
            base, _ = score_tokens(self._model, padded, temperature)
        lengths = [len(row.sequence.completion) for row in rows]
        parts = cast("Sequence[Tensor]", new.detach().split(lengths))
        for index, part in zip(members, parts, strict=True):
            self._old.setdefault(index, part)
        old = torch.cat([self._old[index] for index in members])
        engine = torch.tensor([value for row in rows for value in row.engine]).to(new)
        advantage = torch.tensor([row.advantage for row in rows], dtype=torch.float64).to(new)
        return Scores(new, old, engine, base, advantage, lengths), entropy

    def _micro_batches(self, rows: Sequence[Row]) -> list[list[int]]:
        """Row indices in groups of one temperature and at most the token budget."""
        by_temperature: dict[float, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            by_temperature[row.temperature].append(index)
        return [
            [members[at] for at in part]
            for members in by_temperature.values()
            for part in micro_batches(
                [rows[index].sequence for index in members], self._micro_batch_tokens
            )
        ]
