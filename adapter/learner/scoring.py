"""Turns groups into what the trainer learns from: rewards, then advantages."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from adapter.trainer import TRAINER_SIGNALS, Trainer, TrainingGroup
from rewards.advantages import Advantage, advantages_of
from rewards.answers.kind import AnswerKind, answers_of
from rewards.answers.kinds import AnswerKinds
from rewards.answers.reading.reasoning import said_by
from rewards.answers.tally import Tally
from rewards.consensus import closeness_of, kind_of
from rewards.estimators.estimate import Estimate, RewardEstimator, ScoredGroup
from rewards.estimators.evidence import Chosen, Evidence, MissingEvidence, Signal, label_of
from rewards.looks import QuestionHistory
from rewards.rollouts import RolloutGroup
from rewards.selection import spread_most


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How groups are rewarded and rewards become advantages; `name` stands in metrics. All rollouts
    of a group vote, and at most `rollouts` of them are learnt from (0: all). `history` has the
    earlier votes on each question, since this process began."""

    estimator: RewardEstimator
    advantage: Advantage
    kinds: AnswerKinds
    std_floor: float = 0.0
    clip: float | None = None
    rollouts: int = 0
    name: str = "estimate"
    history: QuestionHistory = field(default_factory=QuestionHistory)

    def score(self, group: RolloutGroup, trainer: Trainer, dry_run: bool = False) -> ScoredGroup:
        """Rewards of one group, with signals from the trainer unless they were recorded; with
        `dry_run`, the work of an update on the group as well. Raises MissingEvidence, and
        ValueError for a group that the trainer cannot learn from."""
        trainer.check(group)
        kind = self.kinds.of(group.answer)
        tally = kind.tally(answers_of(kind, group.rollouts))
        evidence = self._evidence(group, kind, tally, trainer)
        estimate = self.chosen(self.estimator.estimate(evidence))
        scored = ScoredGroup(group, estimate, kind_of(kind, estimate.label))
        if dry_run and scored.estimate.informative:
            trainer.dry_run(self.advantages([scored]))
        return scored

    def _evidence(
        self, group: RolloutGroup, kind: AnswerKind, tally: Tally, trainer: Trainer
    ) -> Evidence:
        """What the estimator needs. A group whose model was not asked to reflect is as one whose
        choice could not be read."""
        needs, signals = self.estimator.needs, dict[Signal, Sequence[float]]()
        if names := TRAINER_SIGNALS & needs:
            signals |= trainer.signals(group, names)
        if "closeness" in needs:
            signals["closeness"] = closeness_of(kind, tally)
        if "topk_entropies" in needs:
            signals["topk_entropies"] = _recorded(group)
        history = self.history if "looks" in needs else None
        chosen = group.reflection.answer if group.reflection else None
        return Evidence(
            tally,
            signals,
            texts=[said_by(rollout) for rollout in group.rollouts] if "texts" in needs else None,
            looks=history and history.look(group.prompt, group.id, kind, tally),
            reflection=Chosen(label_of(kind, tally, chosen)) if "reflection" in needs else None,
        )

    def chosen(self, estimate: Estimate) -> Estimate:
        """The estimate with the rollouts that are learnt from."""
        if not self.rollouts:
            return estimate
        rows = spread_most([estimate.rewards[row] for row in estimate.kept], self.rollouts)
        return replace(estimate, kept=[estimate.kept[at] for at in rows])

    def advantages(self, batch: Sequence[ScoredGroup]) -> list[TrainingGroup]:
        """One advantage per rollout of each group; None for rollouts left out. Groups of different
        kinds of answers are apart: where a whole batch shares a mean and a standard deviation, the
        rewards of one kind would set the scale of another's."""
        found: dict[int, TrainingGroup] = {}
        for kind in dict.fromkeys(scored.kind for scored in batch):
            rows = [row for row, scored in enumerate(batch) if scored.kind == kind]
            part = [batch[row] for row in rows]
            advantages = advantages_of(
                [scored.estimate for scored in part],
                [[len(r.token_ids) for r in scored.group.rollouts] for scored in part],
                self.advantage,
                std_floor=self.std_floor,
                clip=self.clip,
            )
            for row, scored, values in zip(rows, part, advantages, strict=True):
                found[row] = TrainingGroup(scored.group, values)
        return [found[row] for row in range(len(batch))]


def _recorded(group: RolloutGroup) -> list[float]:
    entropies = [rollout.entropy for rollout in group.rollouts]
    if None in entropies:
        raise MissingEvidence("no entropies were recorded: set record_top_logprobs for the server")
    return [entropy for entropy in entropies if entropy is not None]
