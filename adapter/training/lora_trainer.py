"""GRPO on a LoRA adapter with PEFT: the trainer that ships."""

import functools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import peft
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM

from adapter.settings import AdapterSettings
from adapter.store.adapter_folders import WEIGHTS, learner_folder, learner_state
from adapter.store.probe_sheet import ProbeSheet
from adapter.trainer import OutOfMemory, TrainingGroup, UpdateDiverged
from adapter.training.exact_signals import exact_signals
from adapter.training.loss import LossLimits
from adapter.training.memory.devices import cap_memory, planned
from adapter.training.memory.guard import MemoryGuard
from adapter.training.optimiser import Optimiser, OptimiserOptions
from adapter.training.policy_gradient import PolicyGradient, rows_of
from adapter.training.ranks import Ranks, device_for, dtype_for
from adapter.training.sharding import shard_base
from adapter.training.token_scores import (
    PromptBatch,
    TokenSequence,
    micro_batches,
    padded_tokens,
    predicting_states,
    score_tokens,
    tokens_once,
)
from rewards.estimators.evidence import Signal
from rewards.rollouts import Rollout, RolloutGroup

_PINNED_TOKENS, _PINNED_COMPLETION = 4096, 128
"""Most tokens of the probe sheet, and most that are scored of one of its sequences."""
_PINNED, _PINNED_ROUNDED = 16, 64
"""Most sequences of the probe sheet: rounding to bfloat16 averages out over more of them."""
_FIRST_PASS = ("entropy", "sampling/", "importance/", "rollout_corr/")


class LoraTrainer:
    """One adapter on one base model.

    All linear layers but the output head get LoRA: attention-only adapters underperform. With
    `ranks`, every rank has one of these; all get the same calls and each does its share.
    """

    def __init__(self, settings: AdapterSettings, ranks: Ranks | None = None) -> None:
        self._ranks = ranks or Ranks()
        torch.set_num_threads(settings.threads or max(1, (os.cpu_count() or 1) // 2))
        self._device = self._ranks.device or device_for(settings.device)
        dtype = dtype_for(settings.dtype, self._device)
        settings = self._settings = planned(settings, self._ranks, self._device, dtype.itemsize)
        cap_memory(self._device, settings.gpu_memory_share)
        base: Any = AutoModelForCausalLM.from_pretrained(settings.model, dtype=dtype)
        torch.manual_seed(settings.seed)
        config = peft.LoraConfig(
            r=settings.lora_rank, lora_alpha=settings.lora_alpha, lora_dropout=0.0,
            target_modules=settings.lora_targets.split(","), task_type="CAUSAL_LM",
        )  # fmt: skip
        if not self._ranks.shard_base:
            base.to(self._device)
        self._peft: peft.PeftModel = peft.get_peft_model(base, config)  # pyright: ignore[reportAssignmentType]
        self._peft.eval()
        if settings.gradient_checkpointing == "on":
            # Checkpointing needs training mode, which without dropout is the same as evaluation.
            self._peft.train()
            self._peft.enable_input_require_grads()
            base.gradient_checkpointing_enable({"use_reentrant": False})
        if self._ranks.shard_base:
            shard_base(base, self._ranks)
        self._fresh = self._adapter_state()
        self.pinned: list[TokenSequence] = []
        self._base_scores: tuple[list[TokenSequence], list[list[float]]] = [], []
        self.gradient = PolicyGradient(
            model=self.model, without_adapter=self.without_adapter, loss=settings.loss,
            limits=LossLimits(
                low=settings.clip_low, high=settings.clip_high,
                importance_cap=settings.importance_cap, kl_coefficient=settings.kl_coefficient,
                importance_mask=settings.importance_mask, sequence_mask=settings.sequence_mask,
            ),
            micro_batch_tokens=settings.micro_batch_tokens, ranks=self._ranks,
        )  # fmt: skip
        self.optimiser = Optimiser(
            [p for p in self._peft.parameters() if p.requires_grad],
            OptimiserOptions(
                learning_rate=settings.learning_rate, weight_decay=settings.weight_decay,
                max_grad_norm=settings.max_grad_norm, warmup_updates=settings.warmup_updates,
                schedule=settings.schedule, schedule_updates=settings.schedule_updates,
            ),
        )  # fmt: skip
        self._before = self._snapshot()

    @property
    def model(self) -> Any:
        """The base model (a transformers causal language model) with the adapter inside it."""
        return self._peft.get_base_model()

    def without_adapter(self) -> AbstractContextManager[None]:
        """Within it the model is the base."""
        return self._peft.disable_adapter()

    def load(self, folder: Path | None) -> None:
        if folder is None:
            peft.set_peft_model_state_dict(self._peft, self._fresh)
            self.optimiser.reset()
            self.pinned = []
        else:
            state = safetensors.torch.load_file(folder / WEIGHTS)
            peft.set_peft_model_state_dict(self._peft, state)
            self.optimiser.load(learner_state(folder))
            sheet = ProbeSheet.read(folder)
            self.pinned = [
                TokenSequence(ids[: sheet.start(i)], ids[sheet.start(i) :])
                for i, ids in enumerate(sheet.sequences)
            ]
        self._before = self._snapshot()

    def check(self, group: RolloutGroup) -> None:
        generated = {token for rollout in group.rollouts for token in rollout.token_ids}
        if not generated or not group.prompt_ids:
            raise ValueError("no tokens")
        tokens = generated.union(group.prompt_ids)
        size = self.model.get_input_embeddings().num_embeddings
        if min(tokens) < 0 or max(tokens) >= size:
            raise ValueError(f"tokens outside the vocabulary of {size}")

    @torch.no_grad()
    def signals(
        self, group: RolloutGroup, names: frozenset[Signal]
    ) -> Mapping[Signal, Sequence[float]]:
        sequences = [TokenSequence(group.prompt_ids, r.token_ids) for r in group.rollouts]
        shape, device = len(sequences), self._device
        means = {name: torch.zeros(shape, device=device) for name in sorted(names)}
        head = self.model.get_output_embeddings()
        budget = self._ranks.budget(self.gradient.micro_batch_tokens, tokens_once(sequences))
        parts = list(micro_batches(sequences, budget))
        guard = MemoryGuard(self._ranks, device)

        def read(rows: Sequence[int], weight: float) -> None:
            batch = PromptBatch.of([sequences[row] for row in rows], self._device)
            hidden = predicting_states(self.model, batch)
            counts = [len(sequences[row].completion) for row in rows]
            found = exact_signals(hidden, head.weight, names, group.sampling.temperature, head.bias)
            for name, values in found.items():
                found_parts = cast("Sequence[Tensor]", values.split(counts))
                for row, part in zip(rows, found_parts, strict=True):
                    if weight and len(part):
                        means[name][row] = part.mean()

        for rows, weight in self._ranks.share(parts, parts[-1][-1:]):
            tokens = padded_tokens([sequences[row] for row in rows])
            guard.attempt(rows, tokens, functools.partial(read, rows, weight))
        guard.settle([group.id] * len(sequences))
        self._ranks.add(list(means.values()))
        return {name: cast("list[float]", means[name].tolist()) for name in sorted(names)}

    def dry_run(self, batch: Sequence[TrainingGroup]) -> None:
        try:
            self.gradient.backward(rows_of(batch), self._device)
        finally:
            self.gradient.forget()
            self.optimiser.clear()

    def update(self, batch: Sequence[TrainingGroup]) -> Mapping[str, float]:
        rows = rows_of(batch)
        self._before = self._snapshot()
        self._pin(batch)
        metrics: dict[str, float] = {}
        try:
            for _ in range(self._settings.passes):
                self.optimiser.clear()
                latest = self.gradient.backward(rows, self._device)
                self._ranks.add(self.optimiser.gradients())
                latest["grad_norm"] = self.optimiser.clip()
                if not (math.isfinite(latest["loss"]) and math.isfinite(latest["grad_norm"])):
                    self.undo()
                    raise UpdateDiverged(
                        f"loss {latest['loss']:.3g}, gradient norm {latest['grad_norm']:.3g}"
                    )
                latest["learning_rate"] = self.optimiser.step()
                # The first pass sees the weights that the engine sampled from.
                first = {k: v for k, v in metrics.items() if k.startswith(_FIRST_PASS)}
                metrics = {**latest, **first}
            metrics["kl"] = self.gradient.drift(rows, self._device)
        except OutOfMemory:
            self.undo()  # of earlier passes
            raise
        finally:
            self.gradient.forget()
            self.optimiser.clear()
        self.optimiser.updates += 1
        return metrics

    def shrink(self, tokens: int) -> None:
        self.gradient.micro_batch_tokens = max(1, tokens)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def undo(self) -> None:
        state, optimiser, self.pinned = self._before
        peft.set_peft_model_state_dict(self._peft, state)
        self.optimiser.restore(optimiser)

    def save(self, folder: Path) -> None:
        sheet, private = self.probe_sheet(), learner_folder(folder)
        private.mkdir(exist_ok=True)
        try:
            self._peft.save_pretrained(str(folder), safe_serialization=True)
            self.optimiser.save(private)
        except SafetensorError as error:  # that is how it reports a full disk
            raise OSError(str(error)) from None
        sheet.write(folder)

    def probe_sheet(self) -> ProbeSheet:
        """Log-probabilities of the pinned completions, with and without the adapter."""
        adapter = self._pinned_scores()
        if self._base_scores[0] != self.pinned:
            with self.without_adapter():
                self._base_scores = list(self.pinned), self._pinned_scores()
        sequences = [[*sequence.prompt, *sequence.completion] for sequence in self.pinned]
        starts = [len(sequence.prompt) for sequence in self.pinned]
        return ProbeSheet(sequences, adapter, self._base_scores[1], starts)

    @torch.no_grad()
    def _pinned_scores(self) -> list[list[float]]:
        found: list[list[float]] = [[] for _ in self.pinned]
        for part in micro_batches(self.pinned, self._settings.micro_batch_tokens):
            rows = [self.pinned[index] for index in part]
            scores = score_tokens(self.model, PromptBatch.of(rows, self._device))[0]
            lengths = [len(row.completion) for row in rows]
            split = cast("Sequence[Tensor]", scores.split(lengths))
            for index, values in zip(part, split, strict=True):
                found[index] = cast("list[float]", values.tolist())
        return found

    def _pin(self, batch: Sequence[TrainingGroup]) -> None:
        """Choose the probe's tokens once: rollouts of all groups in turn.

        They come only from groups that this version or an ancestor was trained on, so a forgotten
        client's tokens go with the versions that saw it.
        """
        if self.pinned:
            return
        room = _PINNED_TOKENS
        most = _PINNED if self.model.dtype == torch.float32 else _PINNED_ROUNDED
        for group, rollout in _in_turn([tg.group for tg in batch]):
            completion = list(rollout.token_ids[:_PINNED_COMPLETION])
            room -= len(group.prompt_ids) + len(completion)
            if self.pinned and (room < 0 or len(self.pinned) == most):
                return
            if completion:
                self.pinned.append(TokenSequence(list(group.prompt_ids), completion))

    def _snapshot(
        self,
    ) -> tuple[dict[str, Tensor], tuple[dict[str, Any], int], list[TokenSequence]]:
        return self._adapter_state(), self.optimiser.snapshot(), list(self.pinned)

    def _adapter_state(self) -> dict[str, Tensor]:
        state = peft.get_peft_model_state_dict(self._peft)
        return {name: value.detach().clone() for name, value in state.items()}


def _in_turn(groups: Sequence[RolloutGroup]) -> Iterator[tuple[RolloutGroup, Rollout]]:
    """The first rollout of each group, then the second of each, and so on."""
    for index in range(max((len(group.rollouts) for group in groups), default=0)):
        for group in groups:
            if index < len(group.rollouts):
                yield group, group.rollouts[index]
