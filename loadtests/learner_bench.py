"""The training part of one update against TRL's GRPOTrainer: `make bench-learner`.

Same model, same completions, same LoRA, same loss (PPO clip, token mean, k3 KL to base). Sampling
and rewards are left out. Sides alternate in processes of their own, so that peaks of memory can be
told apart; figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from adapter.lora_trainer import LoraTrainer
from adapter.settings import AdapterSettings
from adapter.trainer import TrainingGroup
from rewards.rollouts import Rollout, RolloutGroup, Sampling

_KL = 0.001
_TRL = "trl==1.16.0"


@dataclass(frozen=True, slots=True)
class Workload:
    """`groups` prompts of `prompt` tokens with `rollouts` completions of `length` tokens each.
    `micro_batches` are sequences per forward pass for TRL to choose the best of."""

    model: str
    groups: int
    rollouts: int
    prompt: int
    length: int
    micro_batches: Sequence[int]
    our_tokens: int


WORKLOADS = {
    "512 x 12, arithmetic model": Workload("arithmetic", 16, 32, 12, 12, (64, 256, 512), 8192),
    "128 x 256, hidden 256, vocabulary 32,000": Workload("wide", 8, 16, 32, 256, (2, 16), 4096),
}


def main() -> None:
    """Runs both sides of each workload in turn and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.learner_bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="updates timed per round")
    parser.add_argument("--side", help="run one side and print its figures (used by itself)")
    chosen = parser.parse_args()
    if chosen.side:
        print(json.dumps(_measure(*json.loads(chosen.side), steps=chosen.steps)))
        return
    print("| workload | side | completion tokens/s | peak MB above the start |")
    print("|---|---|---|---|")
    for name, workload in WORKLOADS.items():
        sides = [("ours", 0), *(("trl", size) for size in workload.micro_batches)]
        found: dict[str, list[tuple[float, float]]] = {}
        for _ in range(chosen.rounds):
            for side, size in sides:
                row = _in_a_process([name, side, size], chosen.steps)
                found.setdefault(f"{side} {size}" if size else side, []).append(row)
        rate = {side: statistics.median(row[0] for row in rows) for side, rows in found.items()}
        peak = {side: statistics.median(row[1] for row in rows) for side, rows in found.items()}
        best = max((side for side in rate if side != "ours"), key=rate.__getitem__)
        for side in found:
            print(f"| {name} | {side} | {rate[side]:,.0f} | {peak[side]:,.0f} |")
        print(
            f"| {name} | **ours / TRL's fastest** | **{rate['ours'] / rate[best]:.2f}** "
            f"| **{peak['ours'] / peak[best]:.2f}** |",
            flush=True,
        )


def _in_a_process(side: list[Any], steps: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "loadtests.learner_bench", "--steps", str(steps)]
    done = subprocess.run(
        [*command, "--side", json.dumps(side)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(
            f"{side}: {done.stderr[-2000:]}\nTRL comes with: pip install --no-deps {_TRL} datasets"
        )
    rate, peak = json.loads(done.stdout.splitlines()[-1])
    return rate, peak


def _measure(name: str, side: str, micro_batch: int, steps: int) -> tuple[float, float]:
    workload = WORKLOADS[name]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        model = _model(workload.model, Path(folder))
        vocabulary = int(AutoModelForCausalLM.from_pretrained(model).config.vocab_size)
        batch = _batch(workload, vocabulary)
        step = (
            _ours(model, workload, batch)
            if side == "ours"
            else _trl(model, workload, batch, micro_batch)
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step()
        started = time.perf_counter()
        for _ in range(steps):
            step()
        seconds = (time.perf_counter() - started) / steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tokens = workload.groups * workload.rollouts * workload.length
    return tokens / seconds, (peak - before) / 1024


def _model(kind: str, folder: Path) -> str:
    if kind == "arithmetic":
        return "evals/arithmetic/model"
    config = Qwen2Config(
        vocab_size=32_000, hidden_size=256, intermediate_size=704, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(str(folder))
    return str(folder)


def _batch(workload: Workload, vocabulary: int) -> list[TrainingGroup]:
    rng = torch.Generator().manual_seed(0)

    def tokens(count: int) -> list[int]:
        return torch.randint(0, vocabulary, (count,), generator=rng).tolist()

    groups: list[TrainingGroup] = []
    for index in range(workload.groups):
        rollouts = [
            Rollout("", tokens(workload.length), [-3.0] * workload.length, "stop")
            for _ in range(workload.rollouts)
        ]
        prompt = tokens(workload.prompt)
        group = RolloutGroup(str(index), "", prompt, rollouts, 0, Sampling(), "", 0.0)
        half = workload.rollouts // 2
        groups.append(TrainingGroup(group, [1.0] * half + [-1.0] * (workload.rollouts - half)))
    return groups


def _ours(model: str, workload: Workload, batch: list[TrainingGroup]) -> Callable[[], object]:
    settings = AdapterSettings(
        model=model, micro_batch_tokens=workload.our_tokens, kl_coefficient=_KL, device="cpu"
    )
    trainer = LoraTrainer(settings)
    return lambda: trainer.update(batch)


def _trl(
    model: str, workload: Workload, batch: list[TrainingGroup], micro_batch: int
) -> Callable[[], object]:
    """TRL's own loss on its own model, fed what its generation step would have produced."""
    warnings.simplefilter("ignore")
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    trainer: Any = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=GRPOConfig(
            output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, beta=_KL, loss_type="dapo",
            learning_rate=1e-5, per_device_train_batch_size=micro_batch, report_to=[],
            num_generations=workload.rollouts, max_completion_length=workload.length,
            generation_batch_size=workload.groups * workload.rollouts, epsilon_high=0.28,
            gradient_checkpointing=False,
        ),
        train_dataset=Dataset.from_dict({"prompt": ["x"] * 8}),
        processing_class=AutoTokenizer.from_pretrained("evals/arithmetic/model"),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
    )  # fmt: skip
    policy = trainer.model.train()
    optimiser = torch.optim.AdamW([p for p in policy.parameters() if p.requires_grad], 1e-5)
    rows = [
        (tg.group.prompt_ids, rollout.token_ids, advantage)
        for tg in batch
        for rollout, advantage in zip(tg.group.rollouts, tg.advantages, strict=True)
    ]
    parts: list[dict[str, Any]] = []
    for start in range(0, len(rows), micro_batch):
        part = rows[start : start + micro_batch]
        prompt = torch.tensor([list(row[0]) for row in part])
        completion = torch.tensor([list(row[1]) for row in part])
        parts.append(
            {
                "prompt_ids": prompt,
                "prompt_mask": torch.ones_like(prompt),
                "completion_ids": completion,
                "completion_mask": torch.ones_like(completion),
                "advantages": torch.tensor([row[2] for row in part]),
                "num_items_in_batch": torch.tensor(len(rows) * workload.length),
            }
        )
    trainer.current_gradient_accumulation_steps = len(parts)

    def step() -> None:
        for inputs in parts:
            ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
            mask = torch.ones_like(ids)
            with torch.no_grad(), policy.disable_adapter():
                inputs["ref_per_token_logps"] = trainer._get_per_token_logps_and_entropies(
                    policy, ids, mask, workload.length
                )[0]
            trainer._compute_loss(policy, inputs).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


if __name__ == "__main__":
    main()
