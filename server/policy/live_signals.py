"""How each version answers real traffic, without labels: its latest voted queries."""

from collections import defaultdict, deque
from collections.abc import Collection

from server.policy.limits import Alarm, GateLimits, change_alarm
from server.policy.stats import PolicyStats, VoteRecord


class LiveSignals:
    """The last `window` votes of every version; at least `minimum` to judge one by."""

    def __init__(self, minimum: int, window: int = 256) -> None:
        self._minimum = minimum
        self._records: dict[int, deque[VoteRecord]] = defaultdict(lambda: deque(maxlen=window))

    def add(self, version: int, record: VoteRecord) -> None:
        """Add a vote held under `version`."""
        self._records[version].append(record)

    def stats(self, version: int) -> PolicyStats | None:
        """How a version answers; None before its first vote."""
        records = self._records.get(version)
        return PolicyStats.of(records) if records else None

    def enough(self, version: int) -> bool:
        """Whether a version has enough votes to be judged by them."""
        return len(self._records.get(version, ())) >= self._minimum

    def alarm(self, version: int, before: int, limits: GateLimits) -> Alarm | None:
        """The alarm if answers under `version` look worse than those under `before`; None too if
        either has answered too few queries."""
        if not (self.enough(version) and self.enough(before)):
            return None
        # The latest votes, as many of each: few queries are less diverse than many.
        count = min(len(self._records[version]), len(self._records[before]))
        now, then = (PolicyStats.of([*self._records[v]][-count:]) for v in (version, before))
        return change_alarm(now, then, limits)

    def accept(self, version: int, before: int) -> None:
        """Compare later votes with those of `version` so far: the change was not its doing."""
        self._records[before] = self._records.pop(version)

    def forget(self, *versions: int) -> None:
        """Drop the votes of these versions."""
        for version in versions:
            self._records.pop(version, None)

    def keep(self, versions: Collection[int]) -> None:
        """Drop the votes of all other versions."""
        self.forget(*(self._records.keys() - set(versions)))
