"""What an estimator sees: one group's tally, and the signals measured beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rewards.answers.kind import AnswerKind, cluster_of
from rewards.answers.tally import Tally

Signal = Literal[
    "entropies", "topk_entropies", "confidences", "self_certainties", "reference_probabilities",
    "closeness",
]  # fmt: skip
"""Numbers per rollout, [M], means over its tokens but for the last.

`entropies`: full-vocabulary token entropy, nats. `topk_entropies`: the same, estimated from top-k
log-probabilities. `confidences`: -1/k sum of the top-k log-probabilities (DeepConf).
`self_certainties`: KL(uniform || p), nats (INTUITOR). `reference_probabilities`: probability of the
reference answer's tokens after this rollout's reasoning (RLPR). `closeness`: of its answer to what
most rollouts say, in [0, 1] (`rewards.consensus`).
"""

Need = Signal | Literal["paraphrase", "truth"]
"""Evidence that an estimator may require beside the tally."""


def needing(*names: Need) -> frozenset[Need]:
    """An estimator's needs."""
    return frozenset(names)


class MissingEvidence(ValueError):
    """Evidence that an estimator needs is absent or unusable; the message names it."""


@dataclass(frozen=True, slots=True)
class Label:
    """An answer from elsewhere, and the cluster that equals it (None if no rollout gave it)."""

    answer: str
    cluster: int | None


def label_of(kind: AnswerKind, tally: Tally, answer: str | None) -> Label | None:
    """The label of an answer from elsewhere; None for no answer."""
    return None if answer is None else Label(answer, cluster_of(kind, tally, answer))


@dataclass(frozen=True, slots=True)
class Evidence:
    """One group of M rollouts.

    `paraphrase` is the majority answer to a paraphrase of the question, `truth` the true answer.
    """

    tally: Tally
    signals: Mapping[Signal, Sequence[float]] = field(default_factory=dict[Signal, Sequence[float]])
    paraphrase: Label | None = None
    truth: Label | None = None

    def numbers(self, name: Signal) -> Sequence[float]:
        """A per-rollout signal, finite for every rollout with a vote. Raises MissingEvidence."""
        if name not in self.signals:
            raise MissingEvidence(f"{name} are needed and were not given")
        values = self.signals[name]
        if len(values) != len(self.tally):
            raise MissingEvidence(f"{name}: {len(values)} for {len(self.tally)} rollouts")
        for row, cluster in enumerate(self.tally.clusters):
            if cluster is not None and not math.isfinite(values[row]):
                raise MissingEvidence(f"{name}[{row}] is {values[row]}, which is not finite")
        return values

    def label(self, name: Literal["paraphrase", "truth"]) -> Label:
        """A label from elsewhere. Raises MissingEvidence."""
        label = self.paraphrase if name == "paraphrase" else self.truth
        if label is None:
            raise MissingEvidence(f"{name} is needed and was not given")
        return label


def mean(values: Sequence[float], rows: Sequence[int]) -> float:
    """Mean of `values` over at least one row, rounded only once."""
    return math.fsum(values[row] for row in rows) / len(rows)
