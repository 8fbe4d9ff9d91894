"""A lineage of versions in this process: real GRPO steps on sampled rollouts, without engine,
server or Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from adapter.learner.scoring import Scoring
from adapter.settings import AdapterSettings
from adapter.training.lora_trainer import LoraTrainer
from evals.arithmetic.evidence_collector import EvidenceCollector
from evals.arithmetic.questions import Question
from evals.arithmetic.rollouts import MODEL
from evals.arithmetic.sampler import Decoding, GroupSampler, Sampler
from rewards.advantages import ADVANTAGES
from rewards.answer_choice import MATH_OR_LAST_NUMBER, AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.estimators.estimate import RewardEstimator, ScoredGroup
from rewards.estimators.majority import Majority

MAJORITY = Majority()
LEARNING_RATE = 5e-4
"""Suits a model this small."""


@dataclass(frozen=True, slots=True)
class Step:
    """One update: what was sampled and how it was rewarded, the trainer's metrics (none if there
    was nothing to learn), and the seconds that each part took."""

    scored: Sequence[ScoredGroup]
    metrics: Mapping[str, float]
    seconds: Mapping[str, float]


class Practice:
    """Each `step` is one more update, made as the learner makes them from traffic. Works with any
    estimator, even one that needs the truth; `sampled_by` makes a sampler of model, tokenizer and
    seed, `choice` says how answers are read, a reflection has at most `reflection_tokens` (0: as
    many as a rollout), other keywords are settings of the learner."""

    def __init__(
        self,
        seed: int = 0,
        model: Path = MODEL,
        *,
        decoding: Decoding | None = None,
        estimator: RewardEstimator = MAJORITY,
        sampled_by: Callable[[Any, Any, int], GroupSampler] = Sampler,
        choice: AnswerChoice = MATH_OR_LAST_NUMBER,
        reflection_tokens: int = 0,
        **settings: Any,
    ) -> None:
        chosen = AdapterSettings.model_validate(
            {
                "model": str(model), "learning_rate": LEARNING_RATE, "device": "cpu", "seed": seed,
                **settings,
            }
        )  # fmt: skip
        self._trainer = LoraTrainer(chosen)
        self._tokenizer = cast("PreTrainedTokenizerFast", AutoTokenizer.from_pretrained(model))
        kinds = AnswerKinds()  # integers: plain equality is all there is to decide
        self._scoring = Scoring(
            estimator=estimator,
            advantage=ADVANTAGES[chosen.advantage],
            kinds=kinds,
            std_floor=chosen.advantage_std_floor,
            clip=chosen.advantage_clip,
            rollouts=chosen.learn_rollouts,
        )
        self._decoding = decoding or Decoding()
        self._sampler = sampled_by(self._trainer.model, self._tokenizer, seed)
        self._evidence = EvidenceCollector(
            trainer=self._trainer,
            tokenizer=self._tokenizer,
            sampler=self._sampler,
            kind=kinds.of(choice),
            decoding=self._decoding,
            reflection_tokens=reflection_tokens,
        )

    @property
    def trainer(self) -> LoraTrainer:
        """The trainer, which has the weights."""
        return self._trainer

    @property
    def sampler(self) -> GroupSampler:
        """What samples from it."""
        return self._sampler

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The model's tokenizer."""
        return self._tokenizer

    def step(self, asked: Sequence[Question]) -> Step:
        """One update on these questions."""
        marks = [time.perf_counter()]
        groups = self._sampler.groups(asked, self._decoding)
        marks.append(time.perf_counter())
        estimator = self._scoring.estimator
        scored = [
            ScoredGroup(group, self._scoring.chosen(estimator.estimate(evidence)))
            for group, evidence in (
                (group, self._evidence.of(question, group, estimator.needs))
                for question, group in zip(asked, groups, strict=True)
            )
        ]
        marks.append(time.perf_counter())
        informative = [one for one in scored if one.estimate.informative]
        metrics: Mapping[str, float] = {}
        if informative:
            metrics = self._trainer.update(self._scoring.advantages(informative))
        marks.append(time.perf_counter())
        spans = (later - sooner for sooner, later in pairwise(marks))
        return Step(scored, metrics, dict(zip(("sample", "reward", "update"), spans, strict=True)))

    def undo(self) -> None:
        """Undo the last step."""
        self._trainer.undo()

    def save(self, folder: Path) -> None:
        """Write the adapter as it stands into a new folder."""
        folder.mkdir(parents=True)
        self.save_into(folder)

    def save_into(self, folder: Path) -> None:
        """Write the adapter as it stands into an existing folder."""
        self._trainer.save(folder)
