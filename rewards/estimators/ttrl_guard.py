"""TTRL-Guard: less trust where a question's majority flips or has locked (arXiv 2605.19444)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge, Gt, Le

from rewards.estimators.estimate import Estimate, of_label
from rewards.estimators.evidence import Evidence, given, needing
from rewards.looks import LOOKS, Look
from rewards.votes import take_vote

Share = Annotated[float, Ge(0), Le(1)]

_ROUNDING = 1e-9
_LEAST = 0.1
"""No scale is smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TtrlGuard:
    """The majority's 0/1 rewards, and three changes of their advantages by what the question's
    earlier votes were. A question seen once is TTRL.

    The flip rate f is the share of the last `flip_window` looks whose winner was not the one
    before; p the winner's share of the rollouts, p~ its mean over the last `window` looks.

    1. Scaling: advantages are multiplied by 1 - `flip_weight` f; also by 1 - `doubt` where
       f > `flip_rate` and p > `confident`, which contradict each other; and by 1 - doubt / 2 on the
       first `window` looks at which a question that never flipped has p~ > confident, after at
       least `window` looks. Never below 0.1.
    2. Minorities: where f > 0, rollouts of another answer than the winner's with at least
       `minority` of all rollouts gain b n(a) / sum of n over such answers, in units of the group's
       mean absolute advantage; b = `bonus` min(f / flip_rate, 1).
    3. Locked questions: one that flipped once and has p~ > `locked` after at least `window` looks
       is skipped with chance `skip`.

    After the published code and its scripts: there f is 0 or 1 (`flip_window` 1), and at most a
    quarter of a batch is skipped; here a batch is filled with others. It also gives rollouts
    without an answer a trace of the bonus; here nothing is ever for those. The abstract says that
    updates count less as f *declines*; the code does that by its third scaling and by skipping,
    while the first two lower what flips.
    """

    flip_window: Annotated[int, Ge(1), Le(LOOKS)] = 1
    flip_rate: Annotated[float, Gt(0), Le(1)] = 0.3
    flip_weight: Share = 0.5
    doubt: Share = 0.3
    confident: Share = 0.6
    minority: Share = 0.25
    bonus: Annotated[float, Ge(0)] = 0.3
    window: Annotated[int, Ge(1), Le(LOOKS)] = 5
    locked: Share = 0.5
    skip: Share = 0.7

    needs = needing("looks")

    def estimate(self, evidence: Evidence) -> Estimate:
        tally = evidence.tally
        vote = take_vote(tally)
        plain = of_label(tally, vote.answer, vote.cluster)
        looks = given(evidence.looks, "looks") or [Look(False, vote.agreement)]
        flips, scale = self._flips(looks), self._scale(looks)
        skipped = self._is_locked(looks) and looks[-1].chance < self.skip
        stats = {"flip_rate": flips, "scale": scale, "skipped": float(skipped)}
        enough = max(1, int(self.minority * len(tally) + _ROUNDING))
        minorities = [
            0 if cluster == vote.cluster or len(rows) < enough else len(rows)
            for cluster, rows in enumerate(tally.members)
        ]
        total, most = max(1, sum(minorities)), self.bonus * min(flips / self.flip_rate, 1)
        return replace(
            plain,
            kept=[] if skipped else plain.kept,
            stats={**plain.stats, **stats},
            scale=scale,
            lifts=tally.per_rollout([most * size / total for size in minorities]),
        )

    def _flips(self, looks: Sequence[Look]) -> float:
        recent = looks[-self.flip_window :]
        return sum(look.flipped for look in recent) / len(recent)

    def _scale(self, looks: Sequence[Look]) -> float:
        flips = self._flips(looks)
        scale = 1 - self.flip_weight * flips
        if flips > self.flip_rate and looks[-1].share > self.confident:
            scale *= 1 - self.doubt
        so_far = sum(self._is_steady(looks[:end]) for end in range(1, len(looks) + 1))
        if self._is_steady(looks) and so_far <= self.window:
            scale *= 1 - self.doubt / 2
        return max(_LEAST, scale)

    def _is_steady(self, looks: Sequence[Look]) -> bool:
        """Never flipped, and confident for as long as it takes."""
        return not self._competed(looks) and self._holds(looks, self.confident)

    def _is_locked(self, looks: Sequence[Look]) -> bool:
        return self._competed(looks) and self._holds(looks, self.locked)

    def _holds(self, looks: Sequence[Look], least: float) -> bool:
        recent = [look.share for look in looks[-self.window :]]
        return len(recent) == self.window and math.fsum(recent) / len(recent) > least

    @staticmethod
    def _competed(looks: Sequence[Look]) -> bool:
        return any(look.flipped for look in looks)
