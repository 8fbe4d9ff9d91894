"""The training part of one update against TRL's GRPOTrainer: `make bench-learner`.

Same model, same completions, same LoRA, same loss (PPO clip, token mean, k3 KL to base). Sampling
is left out, and so are rewards, but for a last table of what uncertainty rewards cost. Sides
alternate in processes of their own, so that peaks of memory can be told apart; figures are medians
over rounds. With a GPU it runs in bf16 there, on a model of 1.5B parameters with random weights.
"""

# pyright: basic
# TRL has no types, and is not installed but by those who compare.

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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from adapter.learner.scoring import Scoring
from adapter.settings import AdapterSettings
from adapter.trainer import TrainingGroup
from adapter.training.lora_trainer import LoraTrainer
from loadtests.learner_workloads import WORKLOADS, Workload, batch_of, model_of
from rewards.advantages import grpo
from rewards.answers.kinds import AnswerKinds
from rewards.estimators.registry import build

_KL = 0.001
_TRL = "trl==1.16.0"
_GPU = torch.cuda.is_available()
_REWARDS = {"majority": {}, "dare exact": {"entropy": "exact"}, "dare topk": {"entropy": "topk"}}


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
    _print_rewards(chosen.rounds, chosen.steps)


def _print_rewards(rounds: int, steps: int) -> None:
    print("\n| workload | scoring and update with | seconds | to majority |\n|---|---|---|---|")
    for name in WORKLOADS:
        seconds: dict[str, list[float]] = {reward: [] for reward in _REWARDS}
        for _ in range(rounds):
            for reward, values in seconds.items():
                values.append(_in_a_process([name, f"reward {reward}", 0], steps)[0])
        middle = {reward: statistics.median(values) for reward, values in seconds.items()}
        for reward, value in middle.items():
            times = value / middle["majority"]
            print(f"| {name} | {reward} | {value:.2f} | {times:.2f} |", flush=True)


def _in_a_process(side: list[Any], steps: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "loadtests.learner_bench", "--steps", str(steps)]
    done = subprocess.run(
        [*command, "--side", json.dumps(side)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(
            f"{side}: {done.stderr[-2000:]}\nTRL comes with: pip install --no-deps {_TRL} datasets"
        )
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def _measure(name: str, side: str, micro_batch: int, steps: int) -> tuple[float, float]:
    workload = WORKLOADS[name]
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        model = model_of(workload.model, Path(folder))
        vocabulary = int(AutoModelForCausalLM.from_pretrained(model).config.vocab_size)
        batch = batch_of(workload, vocabulary)
        if side.startswith("reward "):
            step = _scored(model, workload, batch, side.removeprefix("reward "))
        elif side == "ours":
            step = partial(_trainer(model, workload).update, batch)
        else:
            step = _trl(model, workload, batch, micro_batch)
        before = _peak()
        step()
        started = time.perf_counter()
        for _ in range(steps):
            step()
        if _GPU:
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - started) / steps
    if side.startswith("reward "):
        return seconds, 0.0
    tokens = workload.groups * workload.rollouts * workload.length
    return tokens / seconds, (_peak() - before) / 2**20


def _peak() -> int:
    """Most bytes held so far: of the card, or of the process."""
    if _GPU:
        return torch.cuda.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _trainer(model: str, workload: Workload) -> LoraTrainer:
    return LoraTrainer(
        AdapterSettings(
            model=model, micro_batch_tokens=workload.our_tokens, kl_coefficient=_KL,
            device="cuda" if _GPU else "cpu",
        )
    )  # fmt: skip


def _scored(
    model: str, workload: Workload, batch: list[TrainingGroup], reward: str
) -> Callable[[], object]:
    """Rewards, advantages and the update, as the learner goes about them."""
    trainer = _trainer(model, workload)
    estimator = build(reward.split()[0], _REWARDS[reward])
    scoring = Scoring(estimator=estimator, advantage=grpo, kinds=AnswerKinds(), std_floor=0.05)

    def step() -> None:
        scored = [scoring.score(tg.group, trainer) for tg in batch]
        trainer.update(scoring.advantages(scored))

    return step


def _trl(
    model: str, workload: Workload, batch: list[TrainingGroup], micro_batch: int
) -> Callable[[], object]:
    """TRL's own loss on its own model, fed what its generation step would have produced."""
    warnings.simplefilter("ignore")
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer  # pyright: ignore[reportMissingImports]

    trainer: Any = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(
            model, dtype=torch.bfloat16 if _GPU else torch.float32
        ),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=GRPOConfig(
            output_dir=tempfile.mkdtemp(), use_cpu=not _GPU, bf16=_GPU, beta=_KL, loss_type="dapo",
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
        prompt = torch.tensor([list(row[0]) for row in part], device=policy.device)
        completion = torch.tensor([list(row[1]) for row in part], device=policy.device)
        parts.append(
            {
                "prompt_ids": prompt,
                "prompt_mask": torch.ones_like(prompt),
                "completion_ids": completion,
                "completion_mask": torch.ones_like(completion),
                "advantages": torch.tensor([row[2] for row in part], device=policy.device),
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
