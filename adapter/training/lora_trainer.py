"""GRPO on a LoRA adapter with PEFT: the trainer that ships."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import peft
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM

from adapter.settings import AdapterSettings
from adapter.store.adapter_folders import WEIGHTS
from adapter.store.probe_sheet import ProbeSheet
from adapter.trainer import TrainingGroup, UpdateDiverged
from adapter.training.exact_signals import exact_signals
from adapter.training.loss import LossLimits
from adapter.training.optimiser import Optimiser, OptimiserOptions
from adapter.training.policy_gradient import PolicyGradient, rows_of
from adapter.training.ranks import Ranks, device_for
from adapter.training.sharding import shard_base
from adapter.training.token_scores import (
    PromptBatch,
    TokenSequence,
    micro_batches,
    predicting_states,
    score_tokens,
    tokens_once,
)
from rewards.estimators.evidence import Signal
from rewards.rollouts import RolloutGroup

_PINNED = 4
_FIRST_PASS = ("entropy", "sampling/", "importance/", "rollout_corr/")


class LoraTrainer:
    """One adapter on one base model. fp32 on CPU, bf16 base weights on a GPU.

    All linear layers but the output head get LoRA: attention-only adapters underperform. With
    `ranks`, every rank has one of these; all get the same calls and each does its share.
    """

    def __init__(self, settings: AdapterSettings, ranks: Ranks | None = None) -> None:
        self._settings, self._ranks = settings, ranks or Ranks()
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._device = self._ranks.device or device_for(settings.device)
        dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        base: Any = AutoModelForCausalLM.from_pretrained(settings.model, dtype=dtype)
        torch.manual_seed(settings.seed)
        config = peft.LoraConfig(
            r=settings.lora_rank, lora_alpha=settings.lora_alpha, lora_dropout=0.0,
            target_modules="all-linear", task_type="CAUSAL_LM",
        )  # fmt: skip
        if not self._ranks.shard_base:
            base.to(self._device)
        self._peft: peft.PeftModel = peft.get_peft_model(base, config)  # pyright: ignore[reportAssignmentType]
        self._peft.eval()
        if settings.gradient_checkpointing:
            # Checkpointing needs training mode, which without dropout is the same as evaluation.
            self._peft.train()
            self._peft.enable_input_require_grads()
            base.gradient_checkpointing_enable({"use_reentrant": False})
        if self._ranks.shard_base:
            shard_base(base, self._ranks)
        self._fresh = self._adapter_state()
        self.pinned: list[list[int]] = []
        self.gradient = PolicyGradient(
            model=self.model, without_adapter=self._peft.disable_adapter, loss=settings.loss,
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

    def load(self, folder: Path | None) -> None:
        if folder is None:
            peft.set_peft_model_state_dict(self._peft, self._fresh)
            self.optimiser.reset()
            self.pinned = []
        else:
            state = safetensors.torch.load_file(folder / WEIGHTS)
            peft.set_peft_model_state_dict(self._peft, state)
            self.pinned = self.optimiser.load(folder).get("pinned", [])
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
        budget = self._ranks.budget(self._settings.micro_batch_tokens, tokens_once(sequences))
        parts = list(micro_batches(sequences, budget))
        for rows, weight in self._ranks.share(parts, parts[-1][-1:]):
            batch = PromptBatch.of([sequences[row] for row in rows], self._device)
            hidden = predicting_states(self.model, batch)
            counts = [len(sequences[row].completion) for row in rows]
            found = exact_signals(hidden, head.weight, names, group.sampling.temperature, head.bias)
            for name, values in found.items():
                found_parts = cast("Sequence[Tensor]", values.split(counts))
                for row, part in zip(rows, found_parts, strict=True):
                    if weight and len(part):
                        means[name][row] = part.mean()
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
        finally:
            self.gradient.forget()
            self.optimiser.clear()
        self.optimiser.updates += 1
        return metrics

    def undo(self) -> None:
        state, optimiser, self.pinned = self._before
        peft.set_peft_model_state_dict(self._peft, state)
        self.optimiser.restore(optimiser)

    def save(self, folder: Path) -> None:
        sheet = self.probe_sheet()
        try:
            self._peft.save_pretrained(str(folder), safe_serialization=True)
            self.optimiser.save(folder, {"pinned": self.pinned})
        except SafetensorError as error:  # that is how it reports a full disk
            raise OSError(str(error)) from None
        sheet.write(folder)

    def probe_sheet(self) -> ProbeSheet:
        """Log-probabilities of the pinned tokens, with and without the adapter."""
        adapter = [self._pinned_scores(ids) for ids in self.pinned]
        with self._peft.disable_adapter():
            base = [self._pinned_scores(ids) for ids in self.pinned]
        return ProbeSheet(self.pinned, adapter, base)

    @torch.no_grad()
    def _pinned_scores(self, ids: list[int]) -> list[float]:
        batch = PromptBatch.of([TokenSequence(ids[:1], ids[1:])], self._device)
        return list(map(float, score_tokens(self.model, batch)[0]))

    def _pin(self, batch: Sequence[TrainingGroup]) -> None:
        """Choose the probe's tokens once: the first rollout of a few groups.

        They come only from groups that this version or an ancestor was trained on, so a forgotten
        client's tokens go with the versions that saw it.
        """
        if not self.pinned:
            groups = [tg.group for tg in batch[:_PINNED]]
            self.pinned = [[*g.prompt_ids, *g.rollouts[0].token_ids] for g in groups]

    def _snapshot(self) -> tuple[dict[str, Tensor], tuple[dict[str, Any], int], list[list[int]]]:
        return self._adapter_state(), self.optimiser.snapshot(), self.pinned

    def _adapter_state(self) -> dict[str, Tensor]:
        state = peft.get_peft_model_state_dict(self._peft)
        return {name: value.detach().clone() for name, value in state.items()}
