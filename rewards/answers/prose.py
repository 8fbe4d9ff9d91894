"""Answer kind `text`: any prose. Two texts are close, never the same unless to the letter."""

from collections.abc import Sequence

from rewards.answers.kind import may_vote
from rewards.answers.medoid import text_closeness
from rewards.answers.reading.reasoning import without_reasoning
from rewards.answers.tally import Tally, tally_by
from rewards.rollouts import Rollout


class Prose:
    """The reply without its reasoning."""

    name = "text"

    def read(self, rollout: Rollout) -> str | None:
        """The answer of a rollout, None if there is none."""
        reply = without_reasoning(rollout.text) if may_vote(rollout) else None
        return (reply or "").strip() or None

    def same(self, first: str, second: str) -> bool:
        """Whether two texts are one."""
        return first == second

    def closeness(self, first: str, second: str) -> float:
        """Share of words in common."""
        return 1.0 if first == second else text_closeness(first, second)

    def tally(self, answers: Sequence[str | None]) -> Tally:
        """Cluster M answers, whatever their order."""
        return tally_by(answers, str)

    def instant(self, answers: Sequence[str | None]) -> bool:
        """Nothing waits."""
        return True
