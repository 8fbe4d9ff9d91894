"""Builds the small model and trains it on worked replies, from a seed.

A curriculum: short sums first, longer ones once the shorter ones go well, all done carefully. Bad
habits come last, on top of the skill: learning to carry again is then a change of habit, which a
few updates of a LoRA can make.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tqdm import tqdm
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from evals.arithmetic import corpus
from evals.arithmetic.questions import LEVELS
from evals.arithmetic.tokenizer import END, PAD, build_tokenizer, prompt_text

IGNORED = -100
"""transformers' label for "no loss here"."""

# Mean loss, in nats a token, under which the next level opens.
_PASSED = 0.12
# Steps that a level lasts at least: the mean loss looks back some 20 steps.
_LESSON = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long and how fast to train."""

    seed: int = 0
    steps: int = 2600
    minutes: float | None = None
    """An earlier end: the schedule follows steps or clock, whichever is further."""
    batch: int = 64
    learning_rate: float = 2e-3
    warm_up: int = 100
    weight_decay: float = 0.01
    subtraction_share: float = 0.15
    careful_share: float = 0.7
    """Part of the training without bad habits."""
    ignorant: bool = False
    """Train on guesses instead, over all levels from the start."""
    architecture: str = "qwen2"
    """One of ARCHITECTURES."""

    def rate(self, step: int, done: float) -> float:
        """Learning rate at a step, `done` in [0, 1]: warm-up, level, then linear to zero."""
        return self.learning_rate * min(1.0, (step + 1) / self.warm_up, 2 * (1 - done))


ARCHITECTURES: Mapping[str, tuple[Any, Any]] = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM),
}


def model_for(
    tokenizer: PreTrainedTokenizerFast, seed: int, architecture: str = "qwen2"
) -> PreTrainedModel:
    """A fresh model of 0.7 million parameters; small heads that every vLLM backend has."""
    torch.manual_seed(seed)
    end = cast(int, tokenizer.convert_tokens_to_ids(END))
    pad = cast(int, tokenizer.convert_tokens_to_ids(PAD))
    configuration, kind = ARCHITECTURES[architecture]
    config = configuration(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=512,
        # Texts are some 50 tokens long: turn faster than the usual 10,000 to tell columns apart.
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
        dtype="float32",
    )
    model = kind(config)
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad)
    return model


def batch_of(
    examples: list[corpus.Example], tokenizer: PreTrainedTokenizerFast
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels, both [batch, length]; labels only on the reply and its end."""
    texts = [prompt_text(item.question.text) for item in examples]
    prompts = cast(list[list[int]], tokenizer(texts)["input_ids"])
    replies = cast(list[list[int]], tokenizer([item.reply + END for item in examples])["input_ids"])
    length = max(len(a) + len(b) for a, b in zip(prompts, replies, strict=True))
    ids = torch.full((len(examples), length), cast(int, tokenizer.pad_token_id))
    labels = torch.full((len(examples), length), IGNORED)
    for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        end = len(prompt) + len(reply)
        ids[row, :end] = torch.tensor(prompt + reply)
        labels[row, len(prompt) : end] = torch.tensor(reply)
    return ids, labels


def train(recipe: Recipe) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A trained model and its tokenizer; shows its progress."""
    tokenizer = build_tokenizer()
    model = model_for(tokenizer, recipe.seed, recipe.architecture)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    rng = random.Random(f"corpus:{recipe.seed}")
    started = time.monotonic()
    top, opened, mean = (len(LEVELS) if recipe.ignorant else 1), 0, 1.0
    model.train()
    progress = tqdm(range(recipe.steps), unit="step", mininterval=5)
    for step in progress:
        done = step / recipe.steps
        if recipe.minutes is not None:
            done = max(done, (time.monotonic() - started) / 60 / recipe.minutes)
        if done >= 1:
            break
        weak = done >= recipe.careful_share
        if weak:
            top = len(LEVELS)
        lesson = corpus.Lesson(
            levels=LEVELS[:top],
            habits=corpus.WEAK if weak else corpus.CAREFUL,
            subtraction_share=recipe.subtraction_share,
            ignorant=recipe.ignorant,
        )
        examples = [corpus.example(rng, lesson) for _ in range(recipe.batch)]
        ids, labels = batch_of(examples, tokenizer)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, done)
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean += 0.05 * (loss.item() - mean)
        if mean < _PASSED and step - opened >= _LESSON and top < len(LEVELS):
            top, opened = top + 1, step
        progress.set_postfix(loss=f"{mean:.3f}", level=top, refresh=False)
    return model.eval(), tokenizer


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes weights, configuration and tokenizer as transformers and vLLM read them."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
