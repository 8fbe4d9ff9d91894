"""What the learner's bench trains on: models with random weights, and batches of random tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapter.trainer import TrainingGroup
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from rewards.token_signals import QWEN_VOCABULARY


@dataclass(frozen=True, slots=True, kw_only=True)
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


ON_CPU = {
    "512 x 12, arithmetic model": Workload(
        model="arithmetic", groups=16, rollouts=32, prompt=12, length=12,
        micro_batches=(64, 256, 512), our_tokens=8192,
    ),
    "128 x 256, hidden 256, vocabulary 32,000": Workload(
        model="wide", groups=8, rollouts=16, prompt=32, length=256,
        micro_batches=(2, 16), our_tokens=4096,
    ),
}  # fmt: skip
ON_GPU = {
    "128 x 1024, 1.5B, bf16": Workload(
        model="1.5B", groups=8, rollouts=16, prompt=256, length=1024,
        micro_batches=(4, 16), our_tokens=32_768,
    ),
}  # fmt: skip
WORKLOADS = ON_GPU if torch.cuda.is_available() else ON_CPU
SHAPES = {
    "wide": Qwen2Config(
        vocab_size=32_000, hidden_size=256, intermediate_size=704, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
    ),
    "1.5B": Qwen2Config(
        vocab_size=QWEN_VOCABULARY, hidden_size=1536, intermediate_size=8960, num_hidden_layers=28,
        num_attention_heads=12, num_key_value_heads=2, max_position_embeddings=4096,
        tie_word_embeddings=True,
    ),
}  # fmt: skip


def model_of(kind: str, folder: Path) -> str:
    """A model of that kind: its path; one with random weights is written into `folder`."""
    if kind == "arithmetic":
        return "evals/arithmetic/model"
    Qwen2ForCausalLM(SHAPES[kind]).save_pretrained(str(folder))
    return str(folder)


def batch_of(workload: Workload, vocabulary: int) -> list[TrainingGroup]:
    """Groups of that workload, half of each group's rollouts with advantage 1, half with -1."""
    rng = random.Random(0)

    def tokens(count: int) -> list[int]:
        return [rng.randrange(vocabulary) for _ in range(count)]

    groups: list[TrainingGroup] = []
    for index in range(workload.groups):
        rollouts = [
            Rollout(
                rf"\boxed{{{number % 3}}}", tokens(workload.length), [-3.0] * workload.length,
                "stop", entropy=0.1 * (1 + number % 3),
            )
            for number in range(workload.rollouts)
        ]  # fmt: skip
        prompt = tokens(workload.prompt)
        group = RolloutGroup(str(index), "", prompt, rollouts, 0, Sampling(), "", 0.0)
        half = workload.rollouts // 2
        groups.append(TrainingGroup(group, [1.0] * half + [-1.0] * (workload.rollouts - half)))
    return groups
