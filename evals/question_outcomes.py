"""What became of each question from before learning to after, how often votes flip, and the signs
of a collapse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rewards.answers.kind import AnswerKind
from rewards.answers.tally import Tally
from rewards.votes import take_vote


class Outcome(StrEnum):
    """Of one question, by whether its majority was right before and is right after."""

    LEARNT = "learnt"
    KEPT = "kept"
    CORRUPTED = "corrupted"
    NEVER = "never"


_OUTCOMES = {
    (False, True): Outcome.LEARNT,
    (True, True): Outcome.KEPT,
    (True, False): Outcome.CORRUPTED,
    (False, False): Outcome.NEVER,
}


def outcomes(before: Mapping[str, bool], after: Mapping[str, bool]) -> dict[str, Outcome]:
    """The outcome of each question, by its id. Raises ValueError unless both have the same ids."""
    if before.keys() != after.keys():
        odd = sorted(before.keys() ^ after.keys())
        raise ValueError(f"{len(odd)} questions were asked only once, {odd[0]!r} for one")
    return {question: _OUTCOMES[right, after[question]] for question, right in before.items()}


def shares(found: Mapping[str, Outcome]) -> dict[Outcome, float]:
    """The share of all questions that each outcome has; all 0 without questions."""
    each = list(found.values())
    return {outcome: each.count(outcome) / max(1, len(each)) for outcome in Outcome}


def flip_rate(before: Sequence[Tally], after: Sequence[Tally], kind: AnswerKind) -> float | None:
    """The share of questions [Q] whose majority answer is another one than a look before, of those
    that had a majority both times; None if there is none (TTRL-Guard, arXiv 2605.19444)."""
    pairs = [
        (first, second)
        for one, other in zip(before, after, strict=True)
        if (first := take_vote(one).answer) is not None
        and (second := take_vote(other).answer) is not None
    ]
    flips = sum(not kind.same(first, second) for first, second in pairs)
    return flips / len(pairs) if pairs else None


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a collapse shows in, at one step: mean `agreement` (n(label)/M), `variety`, the share of
    questions whose majority is no other question's, mean `tokens` of a rollout, and the share that
    is `answered`."""

    agreement: float
    variety: float
    tokens: float
    answered: float


def vitals(tallies: Sequence[Tally], tokens: Sequence[Sequence[int]], kind: AnswerKind) -> Vitals:
    """The vitals of a step's groups, at least one with at least one rollout; `tokens` counts those
    of each rollout [Q][M]."""
    votes = [take_vote(tally) for tally in tallies]
    leading = kind.tally([vote.answer for vote in votes])
    alone = sum(len(rows) == 1 for rows in leading.members)
    lengths = [count for row in tokens for count in row]
    return Vitals(
        agreement=sum(vote.agreement for vote in votes) / len(votes),
        variety=alone / max(1, sum(map(len, leading.members))),
        tokens=sum(lengths) / len(lengths),
        answered=sum(vote.valid for vote in votes) / sum(vote.total for vote in votes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CollapseWatch:
    """Which signs of a collapse there are between the first vitals and the last.

    Questions get one another's answers while votes agree more: at most `variety` times the variety.
    Rollouts have `short` times the tokens or fewer, or `long` times or more; or less than
    `answered` times the answers.
    """

    variety: float = 0.7
    short: float = 0.5
    long: float = 2.0
    answered: float = 0.8

    def signs(self, first: Vitals, last: Vitals) -> list[str]:
        """The names of the signs; none if all is well."""
        found = {
            "one answer for all": last.agreement > first.agreement
            and last.variety <= self.variety * first.variety
            and last.variety < first.variety,
            "short": last.tokens <= self.short * first.tokens,
            "long": last.tokens >= self.long * first.tokens,
            "silent": last.answered < self.answered * first.answered,
        }
        return [name for name, seen in found.items() if seen]
