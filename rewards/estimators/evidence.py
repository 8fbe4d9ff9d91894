"""What an estimator sees: one group's tally, and the signals measured beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, TypeVar

from rewards.answers.kind import AnswerKind, cluster_of
from rewards.answers.tally import Tally
from rewards.looks import Look

T = TypeVar("T")

Signal = Literal[
    "entropies", "topk_entropies", "confidences", "self_certainties", "reference_probabilities",
    "closeness", "noise",
]  # fmt: skip
"""Numbers per rollout, [M], means over its tokens but for the last.

`entropies`: full-vocabulary token entropy, nats. `topk_entropies`: the same, estimated from top-k
log-probabilities. `confidences`: -1/k sum of the top-k log-probabilities (DeepConf).
`self_certainties`: KL(uniform || p), nats (INTUITOR). `reference_probabilities`: probability of the
reference answer's tokens after this rollout's reasoning (RLPR). `closeness`: of its answer to what
most rollouts say, in [0, 1] (`rewards.consensus`). `noise`: drawn from [0, 1), of no meaning.
"""

Need = Signal | Literal["paraphrase", "truth", "texts", "looks", "reflection"]
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


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the model's reflection over its answers chose; `label` is None if nothing could be
    read."""

    label: Label | None


def label_of(kind: AnswerKind, tally: Tally, answer: str | None) -> Label | None:
    """The label of an answer from elsewhere; None for no answer."""
    return None if answer is None else Label(answer, cluster_of(kind, tally, answer))


@dataclass(frozen=True, slots=True)
class Evidence:
    """One group of M rollouts.

    `paraphrase` is the majority answer to a paraphrase of the question, `truth` the true answer,
    `texts` [M] what the rollouts say without their reasoning, `looks` all votes on this question so
    far, this one last (`rewards.looks`), `reflection` the model's choice among its answers.
    """

    tally: Tally
    signals: Mapping[Signal, Sequence[float]] = field(default_factory=dict[Signal, Sequence[float]])
    paraphrase: Label | None = None
    truth: Label | None = None
    _: KW_ONLY
    texts: Sequence[str] | None = None
    looks: Sequence[Look] | None = None
    reflection: Chosen | None = None

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
        return given(self.paraphrase if name == "paraphrase" else self.truth, name)


def given(value: T | None, name: Need) -> T:
    """Evidence that is there. Raises MissingEvidence."""
    if value is None:
        raise MissingEvidence(f"{name} is needed and was not given")
    return value


def mean(values: Sequence[float], rows: Sequence[int]) -> float:
    """Mean of `values` over at least one row, rounded only once."""
    return math.fsum(values[row] for row in rows) / len(rows)
