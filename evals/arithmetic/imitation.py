"""Adapters trained by supervised imitation to answer in a given way: for tests and benches."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from adapter.settings import AdapterSettings
from adapter.trainer import TrainingGroup
from adapter.training.lora_trainer import LoraTrainer
from evals.arithmetic.corpus import Example
from evals.arithmetic.questions import Question, questions
from evals.arithmetic.rollouts import MODEL
from evals.arithmetic.tokenizer import END, prompt_ids
from evals.arithmetic.training import IGNORED, batch_of
from rewards.rollouts import Rollout, RolloutGroup, Sampling

_BATCH = 16
_WARM_UP = 5
_PINNED = 4


@dataclass(frozen=True, slots=True)
class Lesson:
    """What to imitate: `reply` says how a question is answered, right or wrong."""

    reply: Callable[[Question], str]
    steps: int = 60
    """Optimiser steps of 16 additions. A format takes 40, a computation new to the base 200."""
    ends: bool = True
    """If not, training never shows the end of a reply, and rollouts are truncated."""
    learning_rate: float = 6e-3


def imitate(lesson: Lesson, folder: Path, model: Path = MODEL, seed: int = 0) -> None:
    """Train an adapter on the lesson and save it as the learner does, probe sheet and all.

    `folder` is created. The same arguments give the same adapter on the same machine.
    """
    settings = {"model": str(model), "device": "cpu", "seed": seed}
    trainer = LoraTrainer(AdapterSettings.model_validate(settings))
    tokenizer = cast("PreTrainedTokenizerFast", AutoTokenizer.from_pretrained(model))
    asked = questions(seed, _BATCH * lesson.steps)
    random.Random(seed).shuffle(asked)  # levels take turns there: a batch may have any mix
    # An update chooses the tokens of the probe; this one is too small to matter.
    trainer.update([_demonstration(question, lesson, tokenizer) for question in asked[:_PINNED]])
    parameters = [p for p in trainer.model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.0)
    for step in range(lesson.steps):
        rate = min(1.0, (step + 1) / _WARM_UP, 1.5 * (1 - step / lesson.steps))
        for group in adam.param_groups:
            group["lr"] = lesson.learning_rate * rate
        ids, labels = _batch(asked[step * _BATCH : (step + 1) * _BATCH], lesson, tokenizer)
        loss = trainer.model(input_ids=ids, labels=labels).loss
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
    folder.mkdir(parents=True)
    trainer.save(folder)


def _batch(
    asked: Sequence[Question], lesson: Lesson, tokenizer: PreTrainedTokenizerFast
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels, both [batch, length]; labels on the replies only."""
    ids, labels = batch_of(
        [Example(question, lesson.reply(question)) for question in asked], tokenizer
    )
    if not lesson.ends:
        labels[labels == tokenizer.convert_tokens_to_ids(END)] = IGNORED
    return ids, labels


def _demonstration(
    question: Question, lesson: Lesson, tokenizer: PreTrainedTokenizerFast
) -> TrainingGroup:
    prompt = prompt_ids(tokenizer, question.text)
    ids = cast("list[int]", tokenizer(lesson.reply(question) + END)["input_ids"])
    rollout = Rollout(lesson.reply(question), ids, [0.0] * len(ids), "stop")
    group = RolloutGroup(question.id, question.text, prompt, [rollout], 0, Sampling(), "", 0.0)
    return TrainingGroup(group, [1.0])
