"""How many rollouts must agree before their answer is the answer."""

import math
from dataclasses import dataclass

from rewards.votes import Vote

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Support:
    """A winner has it with at least two rollouts, and this share of all of them. Without it nobody
    can tell a consensus from a coincidence."""

    share: float = 0.125
    rollouts: int = 2

    def needed(self, total: int) -> int:
        """Votes that a winner needs of `total` rollouts."""
        return max(self.rollouts, math.ceil(self.share * total - _ROUNDING))

    def holds(self, vote: Vote) -> bool:
        """Whether the winner of a vote has it."""
        return max(vote.counts.values(), default=0) >= self.needed(vote.total)
