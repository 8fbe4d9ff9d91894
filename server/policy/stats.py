"""How one policy answers: numbers, all without labels, by which versions are judged."""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from rewards.votes import Vote

_SALT = os.urandom(16)


@dataclass(frozen=True, slots=True)
class VoteRecord:
    """One voted query: shares of its rollouts, what tells its winner from others in this process,
    but not what it is (empty for none), and the mean tokens of a rollout."""

    agreement: float
    margin: float
    valid: float
    winner: bytes
    length: float

    @staticmethod
    def of(vote: Vote, tokens: int) -> "VoteRecord":
        """The record of a vote whose rollouts have `tokens` tokens together."""
        return VoteRecord(
            vote.agreement,
            vote.margin,
            vote.valid / vote.total,
            b"" if vote.cluster is None else _digest(list(vote.counts)[vote.cluster]),
            tokens / vote.total,
        )


@dataclass(frozen=True, slots=True)
class PolicyStats:
    """Means over queries: `agreement` and `margin` are the winner's share and lead, `valid` is the
    share of rollouts with an answer (truncated and looping ones have none), `diversity` the
    effective number of distinct winning answers (e^entropy) over the number of queries, and
    `length` the tokens of a rollout."""

    agreement: float
    margin: float
    valid: float
    diversity: float
    length: float

    @staticmethod
    def of(records: Sequence[VoteRecord]) -> "PolicyStats":
        """The means of at least one query. "No answer" counts as an answer of its own."""
        count = len(records)
        shares = [n / count for n in Counter(r.winner for r in records).values()]
        return PolicyStats(
            agreement=fmean(r.agreement for r in records),
            margin=fmean(r.margin for r in records),
            valid=fmean(r.valid for r in records),
            diversity=math.exp(-sum(share * math.log(share) for share in shares)) / count,
            length=fmean(r.length for r in records),
        )

    def numbers(self) -> dict[str, float]:
        """By name."""
        return asdict(self)


def _digest(answer: str) -> bytes:
    text = answer.encode(errors="surrogatepass")
    return hashlib.blake2b(text, key=_SALT, digest_size=8).digest()
