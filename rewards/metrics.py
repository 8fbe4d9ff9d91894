"""Accuracies of a set of rollouts. They need the truth, which only evaluation has."""

from collections.abc import Sequence

from rewards.answers import equal
from rewards.votes import take_vote


def correctness(answers: Sequence[str | None], truth: str) -> list[bool]:
    """Per rollout: does its answer equal the truth? A missing answer does not."""
    return [answer is not None and equal(answer, truth) for answer in answers]


def avg_at_n(answers: Sequence[str | None], truth: str) -> float:
    """avg@n, which is pass@1: the mean correctness of n rollouts."""
    return sum(correctness(answers, truth)) / len(answers) if answers else 0.0


def maj_at_n(answers: Sequence[str | None], truth: str) -> float:
    """maj@n: whether the majority answer is correct."""
    label = take_vote(answers).answer
    return float(label is not None and equal(label, truth))


def pass_at_n(answers: Sequence[str | None], truth: str) -> float:
    """pass@n: whether any rollout is correct."""
    return float(any(correctness(answers, truth)))


def reward_accuracy(answers: Sequence[str | None], label: str | None, truth: str) -> float:
    """Share of rollouts whose reward under the estimated label equals that under the truth."""
    true = correctness(answers, truth)
    estimated = correctness(answers, label) if label is not None else [False] * len(answers)
    agreeing = sum(a == b for a, b in zip(true, estimated, strict=True))
    return agreeing / len(answers) if answers else 0.0
