"""Evidence of every kind, even what no traffic carries: truth, paraphrase, reference."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, cast

import torch

from adapter.trainer import TRAINER_SIGNALS
from adapter.training.lora_trainer import LoraTrainer
from adapter.training.token_scores import PromptBatch, TokenSequence, predicting_states
from evals.arithmetic.questions import Question, paraphrase
from evals.arithmetic.references import reference_logprobs
from evals.arithmetic.sampler import Decoding, GroupSampler
from rewards.answers.kind import AnswerKind, answers_of
from rewards.answers.reading.reasoning import said_by
from rewards.answers.tally import Tally
from rewards.estimators.evidence import Chosen, Evidence, Label, Need, Signal, label_of
from rewards.looks import QuestionHistory, noise
from rewards.reflection import choice_in, reflection_on, representatives_of
from rewards.rollouts import RolloutGroup
from rewards.token_signals import entropy_estimate
from rewards.votes import take_vote

TOP_LOGPROBS = 5
"""Likeliest tokens of a position from which `topk_entropies` are estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceCollector:
    """Knows the true answers, and measures signals with the trainer's weights."""

    trainer: LoraTrainer
    tokenizer: Any
    sampler: GroupSampler
    kind: AnswerKind
    decoding: Decoding
    reflection_tokens: int = 0
    """Most of a reflection; 0: as many as of a rollout."""
    history: QuestionHistory = field(default_factory=QuestionHistory)
    numbers: Iterator[int] = field(default_factory=count)

    def of(self, question: Question, group: RolloutGroup, needs: frozenset[Need]) -> Evidence:
        """The evidence that `needs` names, and always the truth."""
        tally = self.kind.tally(answers_of(self.kind, group.rollouts))
        signals: dict[Signal, Sequence[float]] = {}
        if "topk_entropies" in needs:
            signals["topk_entropies"] = self._topk_entropies(group)
        if "reference_probabilities" in needs:
            signals["reference_probabilities"] = self._references(group, tally)
        if measured := TRAINER_SIGNALS & needs:
            signals |= self.trainer.signals(group, measured)
        truth = label_of(self.kind, tally, question.answer)
        other = self._paraphrase(question, tally) if "paraphrase" in needs else None
        if "noise" in needs:
            signals["noise"] = noise(self._name(group), len(tally))
        history = self.history if "looks" in needs else None
        return Evidence(
            tally,
            signals,
            other,
            truth,
            texts=[said_by(rollout) for rollout in group.rollouts] if "texts" in needs else None,
            looks=history and history.look(question.text, self._name(group), self.kind, tally),
            reflection=self._reflection(question, group, tally) if "reflection" in needs else None,
        )

    def _paraphrase(self, question: Question, tally: Tally) -> Label | None:
        group = self.sampler.groups([paraphrase(question)], self.decoding)[0]
        other = self.kind.tally(answers_of(self.kind, group.rollouts))
        return label_of(self.kind, tally, take_vote(other).answer)

    def _reflection(self, question: Question, group: RolloutGroup, tally: Tally) -> Chosen:
        """What the model chooses among its answers; nothing to choose from is nothing chosen."""
        representatives = representatives_of(
            tally, [said_by(rollout) for rollout in group.rollouts]
        )
        if len(representatives) < 2:
            return Chosen(None)
        alone = replace(self.decoding, n=1, max_tokens=self.reflection_tokens)
        asked = replace(question, text=f"{question.text}\n\n{reflection_on(representatives)}")
        [[reflection], *_] = [drawn.rollouts for drawn in self.sampler.groups([asked], alone)]
        chosen = choice_in(reflection, representatives, self.kind)
        return Chosen(chosen and Label(chosen.answer, chosen.cluster))

    def _name(self, group: RolloutGroup) -> str:
        """A name for this drawing of these rollouts, the same whenever all is run again."""
        ids = repr([list(rollout.token_ids) for rollout in group.rollouts])
        return f"{next(self.numbers)}:{hashlib.sha256(ids.encode()).hexdigest()}"

    def _references(self, group: RolloutGroup, tally: Tally) -> list[float]:
        """Mean probability of the majority answer's tokens."""
        ids = [rollout.token_ids for rollout in group.rollouts]
        answer = take_vote(tally).answer or ""
        rows = reference_logprobs(
            self.trainer.model, self.tokenizer,
            prompt_ids=group.prompt_ids, rollouts=ids, answer=answer,
        )  # fmt: skip
        return [float(row.exp().mean()) for row in rows]

    @torch.no_grad()
    def _topk_entropies(self, group: RolloutGroup) -> list[float]:
        sequences = [TokenSequence(group.prompt_ids, r.token_ids) for r in group.rollouts]
        hidden = predicting_states(
            self.trainer.model, PromptBatch.of(sequences, torch.device("cpu"))
        )
        head: torch.Tensor = self.trainer.model.get_output_embeddings().weight
        logits = hidden @ head.T / group.sampling.temperature
        top = torch.log_softmax(logits, dim=-1).topk(TOP_LOGPROBS, dim=-1).values
        lengths = [len(rollout.token_ids) for rollout in group.rollouts]
        parts = cast("Sequence[torch.Tensor]", top.split(lengths))
        rows = cast("list[list[list[float]]]", [part.tolist() for part in parts])
        vocabulary = len(head)
        return [
            math.fsum(entropy_estimate(position, vocabulary) for position in row) / len(row)
            for row in rows
        ]
