"""Rewards and advantages of recorded rollout groups: what `ratchet score` prints."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import orjson

from evals.recorded_groups import BadInput, Reader, RecordedGroup
from rewards.advantages import ADVANTAGES, advantages_of
from rewards.answers.kind import AnswerKind
from rewards.estimators.estimate import Estimate, RewardEstimator
from rewards.estimators.evidence import MissingEvidence
from rewards.metrics import (
    avg_at_n,
    correctness,
    label_accuracy,
    maj_at_n,
    point_biserial,
    reward_accuracy,
    rollout_correlation,
)
from rewards.token_signals import QWEN_VOCABULARY


@dataclass(frozen=True, slots=True)
class Scorer:
    """How to score. Advantages that whiten over a batch do so over `batch` groups."""

    estimator: RewardEstimator
    kind: AnswerKind
    _: KW_ONLY
    advantage: str = "grpo"
    std_floor: float = 0.0
    clip: float | None = None
    batch: int = 8
    vocab_size: int = QWEN_VOCABULARY

    def score(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """One JSON line for each JSON line, in order. Raises BadInput naming line and field."""
        reader = Reader(self.kind, self.estimator.needs, self.vocab_size)
        waiting: list[tuple[RecordedGroup, Estimate]] = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                group = reader.read(line)
                waiting.append((group, self.estimator.estimate(group.evidence)))
            except (BadInput, MissingEvidence) as error:
                raise BadInput(f"line {number}: {error}") from None
            if len(waiting) == self.batch:
                yield from self._written(waiting)
                waiting = []
        yield from self._written(waiting)

    def _written(self, batch: Sequence[tuple[RecordedGroup, Estimate]]) -> Iterator[bytes]:
        advantages = advantages_of(
            [estimate for _, estimate in batch],
            [group.tokens for group, _ in batch],
            ADVANTAGES[self.advantage],
            std_floor=self.std_floor,
            clip=self.clip,
        )
        for (group, estimate), values in zip(batch, advantages, strict=True):
            line: dict[str, Any] = {
                "id": group.id,
                "answers": group.evidence.tally.answers,
                "label": estimate.label,
                "rewards": estimate.rewards,
                "advantages": values,
                "stats": {**estimate.stats, **self._quality(group, estimate)},
            }
            yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def _quality(self, group: RecordedGroup, estimate: Estimate) -> dict[str, float]:
        """Metrics of rollouts and rewards, as far as token ids and a label are recorded."""
        quality: dict[str, float] = {}
        if group.token_ids is not None:
            quality["rollout_correlation"] = rollout_correlation(group.token_ids)
        if group.evidence.truth is not None:
            tally, truth = group.evidence.tally, group.evidence.truth.answer
            correct = correctness(self.kind, tally, truth)
            quality |= {
                "avg": avg_at_n(correct),
                "maj": maj_at_n(tally, correct),
                "label_accuracy": label_accuracy(self.kind, estimate.label, truth),
                "reward_accuracy": reward_accuracy(self.kind, tally, estimate.label, correct),
                "reward_correlation": point_biserial(estimate.rewards, correct),
            }
        return quality
