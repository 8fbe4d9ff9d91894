"""The vote: which answer most rollouts gave, and which rollout speaks for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rewards.answers import canonical, extract_answer
from rewards.rollouts import Rollout

FINISHED = "stop"
"""Only a rollout that ended by itself may vote; a truncated one never reached its answer."""


@dataclass(frozen=True, slots=True)
class Vote:
    """The outcome over `total` rollouts, of which `valid` had an answer.

    `answer` is the winner as its first rollout wrote it; `winner` is that rollout's index. Both are
    None when nobody answered. `counts` maps canonical answers to votes, in order of appearance.
    """

    answer: str | None
    winner: int | None
    valid: int
    total: int
    counts: Mapping[str, int]

    @property
    def agreement(self) -> float:
        """majority_ratio: votes for the winner over all rollouts, n(label) / M."""
        return max(self.counts.values()) / self.total if self.counts else 0.0

    @property
    def margin(self) -> float:
        """Lead of the winner over the runner-up, as a share of all rollouts."""
        if not self.counts:
            return 0.0
        first, second = sorted([*self.counts.values(), 0], reverse=True)[:2]
        return (first - second) / self.total


def take_vote(answers: Sequence[str | None]) -> Vote:
    """Majority vote. A tie goes to the answer seen first; a missing answer never votes.

    TTRL, arXiv 2504.16084, section 2.2; unlike its published code, equal forms share one vote and
    an empty majority cannot win.
    """
    counts: dict[str, int] = {}
    first_seen: dict[str, int] = {}
    for index, answer in enumerate(answers):
        if answer is None:
            continue
        key = canonical(answer)
        counts[key] = counts.get(key, 0) + 1
        first_seen.setdefault(key, index)
    if not counts:
        return Vote(None, None, 0, len(answers), {})
    winner = first_seen[max(counts, key=counts.__getitem__)]
    return Vote(answers[winner], winner, sum(counts.values()), len(answers), counts)


def answer_of(rollout: Rollout) -> str | None:
    """The answer a rollout votes for: none if it was cut short."""
    return extract_answer(rollout.text) if rollout.finish_reason == FINISHED else None


def answers_of(rollouts: Sequence[Rollout]) -> list[str | None]:
    """One answer (or None) per rollout, in order."""
    return [answer_of(rollout) for rollout in rollouts]
