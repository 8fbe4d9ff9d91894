"""The record of one update: quality of its rollouts and rewards, by the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evals.arithmetic.practice import Step
from evals.arithmetic.questions import Question
from rewards.answers.kind import AnswerKind, answers_of
from rewards.answers.math_answers import MathAnswers
from rewards.answers.tally import Tally
from rewards.estimators.dare import Dare
from rewards.estimators.estimate import ScoredGroup
from rewards.estimators.evidence import Evidence, mean
from rewards.metrics import (
    avg_at_n,
    correctness,
    label_accuracy,
    maj_at_n,
    reward_accuracy,
    rollout_correlation,
)

_KIND = MathAnswers()
_DARE = Dare()


def record_of(
    step: Step, asked: Sequence[Question], kind: AnswerKind = _KIND
) -> Mapping[str, float]:
    """Means over the groups of one update; seconds and the trainer's KL and entropy beside them.

    `confidently_wrong` and `uncertainly_right` are shares of all groups (see `_doubts`); `vote/…`
    and `dare/…` the shares of all groups that are such and whose label is still right.
    """
    rows = [
        _of_group(one, question, kind) for one, question in zip(step.scored, asked, strict=True)
    ]
    names = rows[0].keys()
    means = {name: sum(row[name] for row in rows) / len(rows) for name in names}
    return {
        **means,
        **{f"seconds/{name}": value for name, value in step.seconds.items()},
        "kl": step.metrics.get("kl", 0.0),
        "learnt": float(bool(step.metrics)),
    }


def _of_group(scored: ScoredGroup, question: Question, kind: AnswerKind) -> dict[str, float]:
    rollouts, estimate = scored.group.rollouts, scored.estimate
    tally = kind.tally(answers_of(kind, rollouts))
    correct = correctness(kind, tally, question.answer)
    entropies = [rollout.entropy or 0.0 for rollout in rollouts]
    return {
        "avg": avg_at_n(correct),
        "maj": maj_at_n(tally, correct),
        "labelled": float(estimate.label is not None),
        "label_accuracy": label_accuracy(kind, estimate.label, question.answer),
        "reward_accuracy": reward_accuracy(kind, tally, estimate.label, correct),
        "agreement": max(map(len, tally.members), default=0) / len(rollouts),
        "entropy": sum(entropies) / len(entropies),
        "tokens": sum(len(rollout.token_ids) for rollout in rollouts) / len(rollouts),
        "correlation": rollout_correlation([rollout.token_ids for rollout in rollouts]),
        "informative": float(estimate.informative),
        **_doubts(tally, entropies, correct, question, kind),
    }


def _doubts(
    tally: Tally,
    entropies: Sequence[float],
    correct: Sequence[bool],
    question: Question,
    kind: AnswerKind,
) -> dict[str, float]:
    """Where token entropy misleads, among answers of at least two rollouts.

    Confidently wrong: the answer with the least mean entropy is wrong, though the right one is
    present. Uncertainly right: the right answer has more entropy than the group's mean.
    """
    shared = [rows for rows in tally.members if len(rows) > 1]
    right = next((rows for rows in shared if correct[rows[0]]), None)
    confident = uncertain = False
    if right is not None:
        surest = min(shared, key=lambda rows: mean(entropies, rows))
        confident = surest is not right
        uncertain = mean(entropies, right) > mean(entropies, range(len(entropies)))
    vote = maj_at_n(tally, correct)
    estimate = _DARE.estimate(Evidence(tally, {"entropies": entropies}))
    dare = label_accuracy(kind, estimate.label, question.answer)
    return {
        "dare_label_accuracy": dare,
        "confidently_wrong": float(confident),
        "uncertainly_right": float(uncertain),
        "vote/confidently_wrong": confident * vote,
        "dare/confidently_wrong": confident * dare,
        "vote/uncertainly_right": uncertain * vote,
        "dare/uncertainly_right": uncertain * dare,
    }
