"""One picture per reward estimator, all on the same recorded groups:
`python -m evals.reward_plots GROUPS.jsonl --out docs/images/rewards`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from evals.recorded_groups import Reader, RecordedGroup
from rewards.advantages import ADVANTAGES, advantages_of
from rewards.answers.kind import AnswerKind
from rewards.answers.math_answers import MathAnswers
from rewards.estimators.evidence import MissingEvidence, Need
from rewards.estimators.registry import ESTIMATORS, build
from rewards.metrics import correctness, maj_at_n, point_biserial, reward_accuracy

_RIGHT, _WRONG = "#0072b2", "#d55e00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one estimator does to one group: `push` is the mean advantage of right rollouts less
    that of wrong ones, None if the group lacks either."""

    rewards: Sequence[float]
    correct: Sequence[bool]
    majority_right: bool
    push: float | None
    accuracy: float
    correlation: float

    @property
    def share(self) -> float:
        """Share of right rollouts."""
        return sum(self.correct) / len(self.correct)


def effects(name: str, groups: Sequence[RecordedGroup], kind: AnswerKind) -> list[Effect]:
    """The effect of the estimator `name`, with default options and GRPO advantages. Raises
    MissingEvidence."""
    estimator = build(name)
    estimates = [estimator.estimate(group.evidence) for group in groups]
    advantages = advantages_of(
        estimates, [group.tokens for group in groups], ADVANTAGES["grpo"], std_floor=0.05
    )
    found: list[Effect] = []
    for group, estimate, values in zip(groups, estimates, advantages, strict=True):
        tally, truth = group.evidence.tally, group.evidence.label("truth").answer
        correct = correctness(kind, tally, truth)
        means = [
            _mean([v or 0.0 for v, c in zip(values, correct, strict=True) if c is side])
            for side in (True, False)
        ]
        right, wrong = means
        found.append(
            Effect(
                rewards=estimate.rewards,
                correct=correct,
                majority_right=maj_at_n(tally, correct) == 1.0,
                push=None if right is None or wrong is None else right - wrong,
                accuracy=reward_accuracy(kind, tally, estimate.label, correct),
                correlation=point_biserial(estimate.rewards, correct),
            )
        )
    return found


def plot(file: Path, name: str, found: Sequence[Effect]) -> None:
    """Left: each group's push towards its right rollouts. Right: rewards of right and wrong."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for majority_right, colour in ((True, _RIGHT), (False, _WRONG)):
        points = [
            (100 * effect.share, effect.push)
            for effect in found
            if effect.push is not None and effect.majority_right is majority_right
        ]
        label = f"majority {'right' if majority_right else 'wrong'} ({len(points)})"
        left.scatter(*zip(*points, strict=True), s=16, color=colour, alpha=0.75, label=label)
    left.axhline(0, color="black", linewidth=0.8)
    left.set(
        xlabel="right rollouts in the group, %",
        ylabel="advantage, right minus wrong",
        title="Above 0: learns towards the truth",
        xlim=(-2, 102),
    )
    left.legend(loc="lower right")
    left.grid(alpha=0.3)
    pairs = [p for e in found for p in zip(e.rewards, e.correct, strict=True)]
    sides = [[r for r, c in pairs if c is side] for side in (True, False)]
    right.hist(sides, bins=24, color=[_RIGHT, _WRONG], density=True, label=["right", "wrong"])
    right.set(
        xlabel="reward", yticks=[], ylabel="density", title="Reward of right and wrong rollouts"
    )
    right.legend()
    figure.suptitle(name)
    figure.savefig(file, dpi=100)
    plt.close(figure)


def table(rows: Sequence[tuple[str, Sequence[Effect]]]) -> str:
    """Estimators side by side, as Markdown: means over groups with right and wrong rollouts."""
    lines = [
        "| reward | reward accuracy | correlation | pushed to the truth | same, majority wrong |",
        "|---|---|---|---|---|",
    ]
    for name, found in rows:
        mixed = [effect for effect in found if effect.push is not None]
        minority = [effect for effect in mixed if not effect.majority_right]
        lines.append(
            f"| `{name}` | {_percent([e.accuracy for e in mixed])} "
            f"| {_mean([e.correlation for e in mixed]) or 0:.2f} "
            f"| {_percent([float((e.push or 0) > 1e-9) for e in mixed])} "
            f"| {_percent([float((e.push or 0) > 1e-9) for e in minority])} |"
        )
    return "\n".join(lines)


def _percent(values: Sequence[float]) -> str:
    return f"{100 * (_mean(values) or 0.0):.0f}%"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def main() -> None:
    """Reads the groups, draws a picture for each estimator and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m evals.reward_plots", description=__doc__)
    parser.add_argument("groups", type=Path, help="recorded groups with labels, one a line")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--vocab-size", type=int, default=278, help="of the model recorded")
    chosen = parser.parse_args()
    kind = MathAnswers()
    needs: frozenset[Need] = frozenset(need for name in ESTIMATORS for need in build(name).needs)
    reader = Reader(kind, needs, chosen.vocab_size)
    groups = [reader.read(line) for line in chosen.groups.read_bytes().splitlines()]
    chosen.out.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, list[Effect]]] = []
    for name in ESTIMATORS:
        try:
            rows.append((name, effects(name, groups, kind)))
        except MissingEvidence as error:
            print(f"{name} is left out: {error}")
    for name, found in rows:
        plot(chosen.out / f"{name}.png", name, found)
    print(table(rows))


if __name__ == "__main__":
    main()
