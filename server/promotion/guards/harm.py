"""What the guards find of a version, relative to base. Pure: no engine."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from adapter.store.judgement import Cause

_ALPHA = 0.01
"""Chance that a version which loses just `max_lost` is found harmed, over all areas together."""
FEWEST = 8
"""Items that base does, below which it is no base for such tasks, and nothing is found."""
_FEWEST_TOKENS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmRules:
    """The largest share of the items that base does which a version may fail, and the most nats per
    token by which base's own replies may be less likely under it."""

    max_lost: float
    max_unlikely: float


@dataclass(frozen=True, slots=True)
class Harm:
    """What was found, in words; `area` is "" for all, `lost` are items."""

    cause: Cause
    reason: str
    area: str = ""
    lost: Sequence[str] = ()


@dataclass(slots=True)
class GuardRecord:
    """Of one version: whether it did each item that base does, and by how much each token of base's
    own replies is likelier under it than under base, in nats."""

    _did: dict[str, dict[str, bool]] = field(
        default_factory=lambda: defaultdict[str, dict[str, bool]](dict)
    )
    _likelier: list[float] = field(default_factory=list[float])

    def did(self, area: str, item: str, right: bool) -> None:
        """Add an item that base does."""
        self._did[area][item] = right

    def scored(self, ours: Sequence[float], base: Sequence[float]) -> None:
        """Add a reply of base: its tokens' log-probabilities under the version and base."""
        self._likelier += [mine - theirs for mine, theirs in zip(ours, base, strict=True)]

    def harm(self, rules: HarmRules) -> Harm | None:
        """What is proven, if anything: of all items or of the area where most is lost, that more
        than `max_lost` are; or that base's own replies have become too unlikely."""
        everything = {item: right for items in self._did.values() for item, right in items.items()}
        if len(everything) < FEWEST:
            return None
        alpha = _ALPHA / (1 + len(self._did))
        for area, items in {"": everything, **self._did}.items():
            lost = [item for item, right in items.items() if not right]
            if chance_of_more(len(lost), len(items), rules.max_lost) <= alpha:
                what = f"of {area or 'the tasks'} that base does"
                reason = f"fails {len(lost)} of {len(items)} {what}"
                return Harm(Cause.GUARD, reason, area, lost)
        likelier = self._likelihood
        if likelier is not None and not likelier >= -rules.max_unlikely:  # NaN is harm too
            reason = f"base's own replies are less likely by {-likelier:.2f} nats per token"
            return Harm(Cause.LIKELIHOOD, reason, "prose")
        return None

    def numbers(self) -> dict[str, float]:
        """All of it by name."""
        found = {"tasks": 0.0, "lost": 0.0}
        for area, items in self._did.items():
            lost = float(sum(not right for right in items.values()))
            found[f"lost_{area}"], found[f"tasks_{area}"] = lost, float(len(items))
            found["lost"], found["tasks"] = found["lost"] + lost, found["tasks"] + len(items)
        if self._likelier:
            found["likelihood"] = fmean(self._likelier)
            found["likelihood_tokens"] = float(len(self._likelier))
        return found

    @property
    def _likelihood(self) -> float | None:
        """Mean over tokens, once there are enough."""
        return fmean(self._likelier) if len(self._likelier) >= _FEWEST_TOKENS else None


def chance_of_more(lost: int, items: int, share: float) -> float:
    """The chance to lose so many items or more if each is lost with this chance."""
    return math.fsum(
        math.comb(items, k) * share**k * (1 - share) ** (items - k) for k in range(lost, items + 1)
    )
