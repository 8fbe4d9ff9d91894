"""How one policy answers: the numbers, all without labels, that versions are judged by."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rewards.votes import Vote


@dataclass(frozen=True, slots=True)
class VoteRecord:
    """One voted query: shares of its rollouts, the winner in canonical form ("" for none)."""

    agreement: float
    margin: float
    valid: float
    winner: str
    length: float

    @staticmethod
    def of(vote: Vote, tokens: int) -> "VoteRecord":
        """Of a vote whose rollouts have `tokens` tokens together."""
        return VoteRecord(
            vote.agreement,
            vote.margin,
            vote.valid / vote.total,
            "" if vote.cluster is None else list(vote.counts)[vote.cluster],
            tokens / vote.total,
        )


@dataclass(frozen=True, slots=True)
class PolicyStats:
    """Means over queries.

    `agreement` and `margin` are the winner's share and its lead; `valid` is the share of rollouts
    with an answer (a rollout that was cut short or repeats itself has none); `diversity` the
    effective number of distinct winning answers (e^entropy) over the number of queries; `length`
    tokens per rollout.
    """

    agreement: float
    margin: float
    valid: float
    diversity: float
    length: float

    @staticmethod
    def of(records: Sequence[VoteRecord]) -> "PolicyStats":
        """Of at least one query. Nobody answering counts as an answer of its own."""
        count = len(records)
        shares = [n / count for n in Counter(record.winner for record in records).values()]
        return PolicyStats(
            agreement=sum(record.agreement for record in records) / count,
            margin=sum(record.margin for record in records) / count,
            valid=sum(record.valid for record in records) / count,
            diversity=math.exp(-sum(share * math.log(share) for share in shares)) / count,
            length=sum(record.length for record in records) / count,
        )

    def numbers(self) -> dict[str, float]:
        """By name."""
        return {
            "agreement": self.agreement,
            "margin": self.margin,
            "valid": self.valid,
            "diversity": self.diversity,
            "length": self.length,
        }
