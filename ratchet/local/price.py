"""What a stack's answers cost, by its own counters."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

_PURPOSES = ("learning", "judging")


@dataclass(frozen=True, slots=True)
class Price:
    """Tokens of the replies to so many voted `queries`, the tokens generated meanwhile by purpose,
    and the rollouts of the votes; since the start, or between two readings."""

    queries: float
    rollouts: float
    answered: float
    generated: Mapping[str, float]

    def since(self, before: "Price") -> "Price":
        """What was added after another reading."""
        return Price(
            self.queries - before.queries,
            self.rollouts - before.rollouts,
            self.answered - before.answered,
            {name: value - before.generated[name] for name, value in self.generated.items()},
        )

    def numbers(self) -> dict[str, Any]:
        """By name; None where nothing was answered."""
        total, some = sum(self.generated.values()), self.answered > 0 and self.queries > 0
        return {
            "tokens_per_answered_token": round(total / self.answered, 3) if some else None,
            "rollouts_per_answer": round(self.rollouts / self.queries, 3) if some else None,
            "tokens_by_purpose": {name: int(value) for name, value in self.generated.items()},
        }


async def price_at(url: str) -> Price:
    """The price so far of a server by its `/metrics`."""
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        text = await reply.text()
    samples: defaultdict[tuple[str, str], float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name, sample.labels.get("purpose", "")] += sample.value
    generated = {name: samples["ratchet_tokens_total", name] for name in _PURPOSES}
    return Price(
        samples["ratchet_votes_total", ""],
        samples["ratchet_rollouts_total", ""],
        samples["ratchet_answered_tokens_total", ""],
        {"votes": samples["ratchet_completion_tokens_total", ""], **generated},
    )
