"""TTRL's reward: 1 for agreeing with the majority, else 0 (arXiv 2504.16084, equation 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

from rewards.answers import canonical
from rewards.estimate import Estimate
from rewards.votes import take_vote


@dataclass(frozen=True, slots=True)
class Majority:
    """Majority-vote reward. Missing answers get 0; if nobody answered there is no label."""

    needs_entropy: bool = False

    def estimate(
        self, answers: Sequence[str | None], entropies: Sequence[float] | None = None
    ) -> Estimate:
        vote = take_vote(answers)
        everyone = range(len(answers))
        if vote.answer is None:
            return Estimate([0.0] * len(answers), None, everyone)
        label = canonical(vote.answer)
        rewards = [float(answer is not None and canonical(answer) == label) for answer in answers]
        return Estimate(rewards, vote.answer, everyone, {"majority_ratio": vote.agreement})
