"""One course on the real model: what it learns from, and what it can do afterwards."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from adapter.trainer import UpdateDiverged
from evals.arithmetic.practice import Practice
from evals.arithmetic.questions import Question
from evals.arithmetic.sampler import Decoding
from evals.experiments.models import folder_of
from evals.experiments.real.guard import Guard
from evals.experiments.real.tasks import TASKS, Task
from evals.experiments.step_record import record_of
from evals.items import in_epochs
from evals.question_outcomes import CollapseWatch, Vitals, vitals
from evals.smollm2.chat_sampler import ChatSampler
from rewards.answers.kind import AnswerKind, answers_of
from rewards.answers.kinds import AnswerKinds
from rewards.early_decision import is_decided
from rewards.estimators.estimate import ScoredGroup
from rewards.estimators.registry import build, options_of
from rewards.metrics import avg_at_n, correctness, maj_at_n
from rewards.rollouts import RolloutGroup
from rewards.votes import take_vote

_APART = 1_000
"""Between the seeds of two drawings of the same base."""
_CONFIDENCE, _FIRST = 0.99, 4
"""Of the votes by waves: as the server has them by default, where nothing is known of a slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealCourse:
    """Adapts SmolLM2 to `learnt` questions of a task without labels, in epochs, and scores it on
    `questions` others, on all other tasks whose data are at hand, and on guards. Rollouts at
    `temperature`, all of which vote, and at most `learn_rollouts` are learnt from; n of them score.

    `reward` "" learns nothing: the base, which is scored twice, so that it shows what chance alone
    changes. `sources` are files of data by task; what is in them is part of a course, where they
    are is not.
    """

    seed: int = 0
    task: str = "products"
    reward: str = ""
    options: str = ""
    updates: int = 8
    groups: int = 8
    rollouts: int = 16
    learn_rollouts: int = 8
    temperature: float = 0.7
    learning_rate: float = 2e-4
    learnt: int = 20
    questions: int = 60
    reflection_tokens: int = 192
    n: int = 16
    model: str = "smollm2"
    sources: Mapping[str, str] = field(default_factory=dict[str, str])

    def key(self) -> dict[str, Any]:
        """What the result depends on, as JSON returns it."""
        fields = asdict(self)
        data = {name: _digest(file) for name, file in sorted(fields.pop("sources").items())}
        return {"real": True, **fields, "data": data}

    def quick(self) -> RealCourse:
        """The same in seconds; its numbers mean nothing."""
        return replace(
            self, updates=1, groups=2, rollouts=4, learn_rollouts=4, learnt=4, questions=4, n=4,
            reflection_tokens=16,
            model="untaught",
        )  # fmt: skip

    def of_seed(self, seed: int) -> RealCourse:
        """The same with another seed."""
        return replace(self, seed=seed)

    @property
    def alone(self) -> bool:
        """It takes all cores, sampling and learning in turn."""
        return True

    def run(self) -> Mapping[str, Any]:
        """Learn and score, sampling and learning in turn on all cores."""
        started, task = time.monotonic(), TASKS[self.task]
        practice = self._practice(task)
        kind = AnswerKinds().of(task.choice)
        learnt, _ = self._halves(task)
        asked = list(islice(in_epochs(learnt, f"epochs:{self.seed}"), self.updates * self.groups))
        steps: list[Mapping[str, float]] = []
        looks: list[Vitals] = []
        diverged = ""
        for start in range(0, len(asked) if self.reward else 0, self.groups):
            batch = asked[start : start + self.groups]
            try:
                step = practice.step(batch)
            except UpdateDiverged as error:
                diverged = str(error)
                break
            steps.append(record_of(step, batch, kind))
            looks.append(_look(step.scored, kind))
        tokens = _tokens(practice)
        again = {} if self.reward else self._scores(practice, self.seed + _APART)
        return {
            "tests": self._scores(practice, self.seed),
            "again": again,
            "diverged": diverged,
            "guard": Guard(practice.trainer, practice.tokenizer).measure(),
            "steps": steps,
            "collapse": CollapseWatch().signs(looks[0], looks[-1]) if looks else [],
            "tokens": tokens,
            "seconds": time.monotonic() - started,
        }

    def _practice(self, task: Task) -> Practice:
        def sampler(model: Any, tokenizer: Any, seed: int) -> ChatSampler:
            return ChatSampler(model, tokenizer, seed, choice=task.choice)

        return Practice(
            self.seed,
            folder_of(self.model),
            decoding=Decoding(self.rollouts, self.temperature),
            estimator=build(self.reward or "majority", options_of(self.options.split(","))),
            sampled_by=sampler,
            choice=task.choice,
            learning_rate=self.learning_rate,
            learn_rollouts=self.learn_rollouts,
            reflection_tokens=self.reflection_tokens,
            threads=os.cpu_count() or 1,
            micro_batch_tokens=1024,
        )

    def _halves(self, task: Task) -> tuple[list[Question], list[Question]]:
        source = self.sources.get(task.name)
        file = Path(source) if source else None
        learnt, scored = task.halves(self.seed, self.questions, file)
        return learnt[: self.learnt], scored

    def _at_hand(self) -> list[str]:
        """Tasks whose data are there."""
        return [name for name, task in TASKS.items() if not task.column or name in self.sources]

    def _scores(self, practice: Practice, seed: int) -> dict[str, Mapping[str, Any]]:
        """The model on every task, its rollouts drawn by `seed`."""
        return {name: self._score(practice, TASKS[name], seed) for name in self._at_hand()}

    def _score(self, practice: Practice, task: Task, seed: int) -> Mapping[str, Any]:
        """The model on the other half of a task: of another than it has learnt from a third of the
        questions, with four rollouts each."""
        own = task.name == self.task or not self.reward
        asked = self._halves(task)[1][: None if own else max(1, self.questions // 3)]
        sampler = ChatSampler(practice.trainer.model, practice.tokenizer, seed, choice=task.choice)
        groups = sampler.groups(asked, Decoding(self.n if own else 4, self.temperature))
        return scores_of(asked, groups, AnswerKinds().of(task.choice))


def scores_of(
    asked: Sequence[Question], groups: Sequence[RolloutGroup], kind: AnswerKind
) -> Mapping[str, Any]:
    """Means over questions, and by question whether a rollout (a share) and the majority is right,
    and the majority itself."""
    avg: dict[str, float] = {}
    maj: dict[str, float] = {}
    leading: dict[str, str | None] = {}
    passed, waves, drawn = 0, 0.0, 0
    for question, group in zip(asked, groups, strict=True):
        tally = kind.tally(answers_of(kind, group.rollouts))
        right = correctness(kind, tally, question.answer)
        avg[question.id], maj[question.id] = avg_at_n(right), maj_at_n(tally, right)
        leading[question.id] = take_vote(tally).answer
        passed += any(right)
        count, won = _by_waves(group, question, kind)
        waves, drawn = waves + won, drawn + count
    lengths = [len(rollout.token_ids) for group in groups for rollout in group.rollouts]
    size = len(asked)
    return {
        "n": len(groups[0].rollouts),
        "avg": sum(avg.values()) / size, "maj": sum(maj.values()) / size, "passed": passed / size,
        "waves": waves / size, "drawn": drawn / size, "tokens": sum(lengths) / len(lengths),
        "avg_of": avg, "maj_of": maj, "leading": leading,
    }  # fmt: skip


def _by_waves(group: RolloutGroup, question: Question, kind: AnswerKind) -> tuple[int, float]:
    """How many of the rollouts a vote by waves takes, and whether it is right then."""
    size, count = len(group.rollouts), _FIRST
    while True:
        count = min(count, size)
        tally = kind.tally(answers_of(kind, group.rollouts[:count]))
        votes = [len(rows) for rows in tally.members]
        if count == size or is_decided(votes, size - count, _CONFIDENCE):
            return count, maj_at_n(tally, correctness(kind, tally, question.answer))
        count *= 2


def _look(scored: Sequence[ScoredGroup], kind: AnswerKind) -> Vitals:
    """The vitals of a step's groups."""
    tallies = [kind.tally(answers_of(kind, one.group.rollouts)) for one in scored]
    tokens = [[len(rollout.token_ids) for rollout in one.group.rollouts] for one in scored]
    return vitals(tallies, tokens, kind)


def _digest(file: str) -> str:
    """What is in a file, in twelve characters."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]


def _tokens(practice: Practice) -> int:
    """Sampled for learning."""
    sampler = practice.sampler
    return sampler.tokens if isinstance(sampler, ChatSampler) else 0
