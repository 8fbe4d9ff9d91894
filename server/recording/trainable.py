"""Which groups teach anything: those whose answers can be compared, and whose rollouts agree."""

from collections.abc import Collection
from dataclasses import dataclass

from server.policy.reasons import Unrecorded


@dataclass(frozen=True, slots=True)
class Trainable:
    """`kinds` of answers that are learnt from, and the least `share` of a group's rollouts that its
    leading answer must have. Prose (`text`) has no leading answer."""

    kinds: Collection[str]
    share: float = 0.0

    def refusal(self, kind: str, agreement: float) -> Unrecorded | None:
        """Why a group is not learnt from whose leading answer is of that kind; or None."""
        if kind not in self.kinds:
            return Unrecorded.KIND_NOT_TRAINED
        if kind != "text" and agreement < self.share:
            return Unrecorded.LOW_AGREEMENT
        return None
