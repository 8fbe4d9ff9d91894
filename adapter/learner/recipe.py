"""What turns groups into updates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.learner.quota import InfluenceLimits
from adapter.learner.scoring import Scoring

LAST_GOOD = "last_good"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """`config` is what ledger and card say of it. Groups are stale after `max_lag` promotions; a
    lineage that has learnt from `max_age` queries goes back to `reanchor`, with 0 never."""

    scoring: Scoring
    groups_per_update: int
    updates_per_candidate: int = 1
    max_lag: int
    keep_versions: int
    max_age: int = 0
    reanchor: str = LAST_GOOD
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    influence: InfluenceLimits = field(default_factory=InfluenceLimits)
