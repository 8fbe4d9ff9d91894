"""One training run on the arithmetic model: its data, its learning, its scores."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from evals.arithmetic.measurement import PAPERS, Score, measure
from evals.arithmetic.practice import LEARNING_RATE, Practice, Step
from evals.arithmetic.questions import LEVELS, Question, questions, stream_and_held_out
from evals.arithmetic.sampler import Decoding
from evals.experiments.models import folder_of
from evals.experiments.step_record import record_of
from evals.items import in_epochs
from rewards.estimators.registry import build, options_of

Record = Mapping[str, Any]
"""A course's result: `scores` at the end and `elsewhere`, the `curve`, every step's numbers."""

QUICK_N = 4
SETS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "short sums": ("addition", (1, 2)),
    "long sums": ("addition", (3, 4, 5)),
    "short differences": ("subtraction", (1, 2)),
    "long differences": ("subtraction", (3, 4, 5)),
}
"""Families of questions: name, operation, levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The papers' setting in small: a test set without labels, learnt from in epochs, then scored
    with n rollouts at T 0.6, top-p 0.95. Equal courses give equal numbers on one machine.

    `reward` "" learns nothing: the base. `train_on` "stream" learns from other questions than the
    test set's, each once. Every `every` updates the test set is scored quickly, with 4 rollouts.
    `elsewhere` scores all of SETS as well. `model` is one of evals.experiments.models.
    """

    seed: int = 0
    reward: str = "majority"
    options: str = ""
    advantage: str = "grpo"
    loss: str = "grpo"
    learning_rate: float = LEARNING_RATE
    updates: int = 30
    groups: int = 8
    rollouts: int = 32
    temperature: float = 1.0
    top_p: float = 1.0
    shared: int = 0
    lora_rank: int = 16
    model: str = "qwen2"
    family: str = "addition"
    levels: tuple[int, ...] = LEVELS
    questions: int = 160
    train_on: Literal["test", "stream"] = "test"
    n: int = 16
    every: int = 5
    elsewhere: bool = False

    def sets(self) -> tuple[list[Question], list[Question]]:
        """Training questions, shuffled anew in every epoch, and the test set."""
        needed = self.updates * self.groups
        stream, test = stream_and_held_out(
            self.seed, needed if self.train_on == "stream" else 0, self.questions,
            family=self.family, levels=self.levels,
        )  # fmt: skip
        if self.train_on == "stream":
            return stream, test
        return list(itertools.islice(in_epochs(test, f"epochs:{self.seed}"), needed)), test

    def run(self) -> Record:
        """Learn and score, in one thread, for the same bits each time."""
        torch.set_num_threads(1)
        started = time.monotonic()
        practice = Practice(
            self.seed,
            folder_of(self.model),
            decoding=Decoding(self.rollouts, self.temperature, self.top_p, self.shared),
            estimator=build(self.reward or "majority", options_of(self.options.split(","))),
            learning_rate=self.learning_rate,
            advantage=self.advantage,
            loss=self.loss,
            lora_rank=self.lora_rank,
        )
        asked, test = self.sets()
        steps: list[Mapping[str, float]] = []
        curve: list[tuple[int, float, float]] = []
        if self.reward:
            for update in range(self.updates):
                batch = asked[update * self.groups : (update + 1) * self.groups]
                step: Step = practice.step(batch)
                steps.append(record_of(step, batch))
                if (update + 1) % self.every == 0 and update + 1 < self.updates:
                    quick = self._score(practice, test, QUICK_N)[0]
                    curve.append((update + 1, quick.avg, quick.maj))
        scores = self._score(practice, test, self.n)
        curve.append((self.updates if self.reward else 0, scores[0].avg, scores[0].maj))
        return {
            "scores": {str(level): _plain(score) for level, score in scores.items()},
            "elsewhere": {
                name: _plain(self._score(practice, asked, self.n)[0])
                for name, asked in (self._elsewhere() if self.elsewhere else ())
            },
            "curve": curve,
            "steps": steps,
            "seconds": time.monotonic() - started,
        }

    def _score(self, practice: Practice, asked: Sequence[Question], n: int) -> dict[int, Score]:
        return measure(
            practice.trainer.model, practice.tokenizer, asked, replace(PAPERS, n=n), seed=self.seed
        )

    def _elsewhere(self) -> Iterator[tuple[str, Sequence[Question]]]:
        """Questions of each set that are not trained on."""
        learnt = [question.text for part in self.sets() for question in part]
        for name, (family, levels) in SETS.items():
            yield (
                name,
                questions(
                    self.seed + 1, self.questions // 2,
                    family=family, levels=levels, exclude=learnt,
                ),
            )  # fmt: skip

    @property
    def alone(self) -> bool:
        """It takes one core."""
        return False

    def quick(self) -> Course:
        """The same in seconds; its numbers mean nothing."""
        return replace(
            self, updates=2, groups=3, rollouts=8, questions=10, n=4, every=1,
            model="untaught" if self.model != "qwen2" else self.model,
        )  # fmt: skip

    def of_seed(self, seed: int) -> Course:
        """The same with another seed."""
        return replace(self, seed=seed)

    def key(self) -> dict[str, Any]:
        """The fields, as JSON returns them."""
        return {**asdict(self), "levels": list(self.levels)}


def _plain(score: Score) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in asdict(score).items()}
