"""Honest adapters: real GRPO steps on sampled rollouts, without engine, server or Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from adapter.lora_trainer import LoraTrainer
from adapter.scoring import Scoring
from adapter.settings import AdapterSettings
from adapter.token_scores import PromptBatch, TokenSequence, score_tokens
from evals.arithmetic import tokenizer
from evals.arithmetic.measurement import MAX_NEW_TOKENS, sample
from evals.arithmetic.questions import Question, questions
from evals.arithmetic.rollouts import MODEL
from rewards.advantages import grpo
from rewards.equality import Equality
from rewards.majority import Majority
from rewards.rollouts import Rollout, RolloutGroup, Sampling

_MOST_QUESTIONS = 4_000


class Practice:
    """One lineage: each `step` is one update from where the last one ended, as the learner makes
    them from traffic. Majority rewards, so no truth is used."""

    def __init__(
        self,
        seed: int = 0,
        model: Path = MODEL,
        *,
        groups: int = 16,
        rollouts: int = 32,
        learning_rate: float = 1e-3,
    ) -> None:
        settings = AdapterSettings.model_validate(
            {"model": str(model), "learning_rate": learning_rate, "device": "cpu", "seed": seed}
        )
        self._trainer = LoraTrainer(settings)
        self._words = cast("PreTrainedTokenizerFast", AutoTokenizer.from_pretrained(model))
        self._scoring = Scoring(Majority(), grpo, Equality(), settings.advantage_std_floor)
        self._generator = torch.Generator().manual_seed(seed)
        self._groups, self._rollouts = groups, rollouts
        self._stream = iter(questions(seed, _MOST_QUESTIONS))

    def step(self) -> Mapping[str, float]:
        """One update on fresh questions; returns the trainer's metrics, `kl` to base among them."""
        asked = [next(self._stream) for _ in range(self._groups)]
        scored = [self._scoring.score(group, self._trainer) for group in self._sampled(asked)]
        informative = [one for one in scored if one.estimate.informative]
        return self._trainer.update(self._scoring.advantages(informative))

    def undo(self) -> None:
        """Take the last step back."""
        self._trainer.undo()

    def save(self, folder: Path) -> None:
        """Write the adapter as it stands into a new folder."""
        folder.mkdir(parents=True)
        self.save_into(folder)

    def save_into(self, folder: Path) -> None:
        """Write the adapter as it stands into an existing folder."""
        self._trainer.save(folder)

    def _sampled(self, asked: Sequence[Question]) -> list[RolloutGroup]:
        """Rollouts with the log-probabilities that an engine would report."""
        model = self._trainer.model
        replies = sample(model, self._words, asked, self._rollouts, 1.0, 1.0, self._generator)
        groups: list[RolloutGroup] = []
        for question, mine in zip(asked, replies, strict=True):
            text = tokenizer.prompt_text(question.text)
            prompt = cast("list[int]", self._words(text)["input_ids"])
            sequences = [TokenSequence(prompt, reply.token_ids) for reply in mine]
            with torch.no_grad():
                scores, _ = score_tokens(model, PromptBatch.of(sequences, torch.device("cpu")))
            lengths = [len(reply.token_ids) for reply in mine]
            parts = cast("Sequence[torch.Tensor]", scores.split(lengths))
            rollouts = [
                Rollout(
                    reply.text,
                    reply.token_ids,
                    [float(value) for value in part],
                    "stop" if reply.ended else "length",
                )
                for reply, part in zip(mine, parts, strict=True)
            ]
            sampling = Sampling(max_tokens=MAX_NEW_TOKENS)
            groups.append(
                RolloutGroup(question.id, question.text, prompt, rollouts, 0, sampling, "", 0.0)
            )
        return groups
