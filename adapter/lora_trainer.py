"""GRPO on a LoRA adapter with PEFT: the trainer that ships."""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import peft
import safetensors.torch
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from adapter.adapter_folders import WEIGHTS
from adapter.exact_signals import exact_signals
from adapter.loss import LossLimits, effective_sample_size, kl_k3, token_losses
from adapter.probe_sheet import ProbeSheet
from adapter.settings import AdapterSettings
from adapter.token_scores import (
    PaddedBatch,
    TokenSequence,
    micro_batches,
    predicting_states,
    score_tokens,
)
from adapter.trainer import TrainingGroup, UpdateDiverged
from rewards.evidence import Signal
from rewards.rollouts import RolloutGroup

_PINNED = 4


class LoraTrainer:
    """One adapter on one base model. fp32 on CPU, bf16 base weights on a GPU.

    All linear layers but the output head get LoRA: attention-only adapters underperform.
    """

    def __init__(self, settings: AdapterSettings) -> None:
        self._settings = settings
        if settings.threads:
            torch.set_num_threads(settings.threads)
        gpu = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
        self._device = torch.device("cuda" if gpu else "cpu")
        dtype = torch.bfloat16 if gpu else torch.float32
        base: Any = AutoModelForCausalLM.from_pretrained(settings.model, dtype=dtype)
        torch.manual_seed(settings.seed)
        config = peft.LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        self._peft: peft.PeftModel = peft.get_peft_model(base.to(self._device), config)  # pyright: ignore[reportAssignmentType]
        self._peft.eval()
        self._fresh = self._adapter_state()
        self._pinned: list[list[int]] = []
        self._reset_optimiser()

    @property
    def model(self) -> Any:
        """The base model (a transformers causal language model) with the adapter inside it."""
        return self._peft.get_base_model()

    def load(self, folder: Path | None) -> None:
        state = self._fresh if folder is None else safetensors.torch.load_file(folder / WEIGHTS)
        peft.set_peft_model_state_dict(self._peft, state)
        self._reset_optimiser()

    @torch.no_grad()
    def signals(
        self, group: RolloutGroup, names: frozenset[Signal]
    ) -> Mapping[Signal, Sequence[float]]:
        sequences = [TokenSequence(group.prompt_ids, r.token_ids) for r in group.rollouts]
        means: dict[Signal, list[float]] = {name: [0.0] * len(sequences) for name in names}
        head = self.model.get_output_embeddings()
        for rows in self._micro_batches(sequences):
            batch = PaddedBatch.of([sequences[row] for row in rows], self._device)
            hidden = predicting_states(self.model, batch)
            counts = [len(sequences[row].completion) for row in rows]
            found = exact_signals(hidden, head.weight, names, group.sampling.temperature, head.bias)
            for name, values in found.items():
                parts = cast("Sequence[Tensor]", values.split(counts))
                for row, part in zip(rows, parts, strict=True):
                    means[name][row] = float(part.mean())
        return means

    def update(self, batch: Sequence[TrainingGroup]) -> Mapping[str, float]:
        self._pin(batch)
        rows = [
            (TokenSequence(tg.group.prompt_ids, r.token_ids), r.logprobs, advantage, tg.group)
            for tg in batch
            for r, advantage in zip(tg.group.rollouts, tg.advantages, strict=True)
            if advantage is not None and len(r.token_ids)
        ]
        total = sum(len(row[0].completion) for row in rows)
        limits = LossLimits(
            self._settings.clip_low,
            self._settings.clip_high,
            self._settings.importance_cap,
            self._settings.kl_coefficient,
        )
        sums: dict[str, float] = defaultdict(float)
        raw_ratios: list[Tensor] = []
        self._optimiser.zero_grad()
        by_temperature: dict[float, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            by_temperature[row[3].sampling.temperature].append(index)
        for temperature, members in by_temperature.items():
            for part in self._micro_batches([rows[index][0] for index in members]):
                mine = [rows[members[at]] for at in part]
                padded = PaddedBatch.of([row[0] for row in mine], self._device)
                new, entropy = score_tokens(self.model, padded, temperature)
                with torch.no_grad(), self._peft.disable_adapter():
                    base, _ = score_tokens(self.model, padded, temperature)
                counts = torch.tensor([len(row[0].completion) for row in mine])
                advantage = torch.tensor([row[2] for row in mine]).repeat_interleave(counts)
                engine = torch.tensor([value for row in mine for value in row[1]])
                old = new.detach()
                advantage, engine = advantage.to(new), engine.to(new)
                losses = token_losses(new, old, engine, base, advantage, limits)
                (losses.sum() / total).backward()
                raw_ratios.append((old - engine).exp())
                sums["loss"] += float(losses.detach().sum())
                sums["entropy"] += float(entropy.sum())
                sums["kl"] += float(kl_k3(old, base).sum())
        norm = float(torch.nn.utils.clip_grad_norm_(self._trained, self._settings.max_grad_norm))
        if not (torch.isfinite(torch.tensor([norm, sums["loss"]])).all()):
            self._optimiser.zero_grad()
            raise UpdateDiverged(f"loss {sums['loss']:.3g}, gradient norm {norm:.3g}")
        self._before = self._adapter_state(), copy.deepcopy(self._optimiser.state_dict())
        self._steps += 1
        for options in self._optimiser.param_groups:
            warm = self._steps / max(1, self._settings.warmup_updates)
            options["lr"] = self._settings.learning_rate * min(1.0, warm)
        self._optimiser.step()
        ratios = torch.cat(raw_ratios)
        return {
            "loss": sums["loss"] / total,
            "entropy": sums["entropy"] / total,
            "kl": sums["kl"] / total,
            "grad_norm": norm,
            "learning_rate": float(self._optimiser.param_groups[0]["lr"]),
            "completions/mean_length": total / len(rows),
            "importance/raw_mean": float(ratios.mean()),
            "importance/clipped": float((ratios > limits.importance_cap).float().mean()),
            "importance/effective_sample_size": effective_sample_size(ratios),
            "tokens": float(total),
        }

    def undo(self) -> None:
        state, optimiser = self._before
        peft.set_peft_model_state_dict(self._peft, state)
        self._optimiser.load_state_dict(optimiser)

    def save(self, folder: Path) -> None:
        self._peft.save_pretrained(str(folder), safe_serialization=True)
        adapter = [self._pinned_scores(ids) for ids in self._pinned]
        with self._peft.disable_adapter():
            base = [self._pinned_scores(ids) for ids in self._pinned]
        ProbeSheet(self._pinned, adapter, base).write(folder)

    @torch.no_grad()
    def _pinned_scores(self, ids: list[int]) -> list[float]:
        batch = PaddedBatch.of([TokenSequence(ids[:1], ids[1:])], self._device)
        return list(map(float, score_tokens(self.model, batch)[0]))

    def _pin(self, batch: Sequence[TrainingGroup]) -> None:
        """Choose the probe's tokens once: the first rollout of a few groups, and keep them."""
        if not self._pinned:
            groups = [tg.group for tg in batch[:_PINNED]]
            self._pinned = [[*g.prompt_ids, *g.rollouts[0].token_ids] for g in groups]

    def _micro_batches(self, sequences: Sequence[TokenSequence]) -> list[list[int]]:
        lengths = [len(sequence) for sequence in sequences]
        return list(micro_batches(lengths, self._settings.micro_batch_tokens))

    def _adapter_state(self) -> dict[str, Tensor]:
        state = peft.get_peft_model_state_dict(self._peft)
        return {name: value.detach().clone() for name, value in state.items()}

    def _reset_optimiser(self) -> None:
        self._trained = [p for p in self._peft.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(
            self._trained, self._settings.learning_rate, weight_decay=self._settings.weight_decay
        )
        self._steps = 0
        self._before = self._adapter_state(), copy.deepcopy(self._optimiser.state_dict())
