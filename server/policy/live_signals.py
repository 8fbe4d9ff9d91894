"""What real traffic shows of each version, without labels: the latest voted queries."""

from collections import defaultdict, deque
from collections.abc import Collection

from server.policy.limits import Alarm, GateLimits, changed
from server.policy.stats import PolicyStats, VoteRecord


class LiveSignals:
    """The last `window` votes of every version that is being served."""

    def __init__(self, minimum: int, window: int = 256) -> None:
        self._minimum = minimum
        self._records: dict[int, deque[VoteRecord]] = defaultdict(lambda: deque(maxlen=window))

    def note(self, version: int, record: VoteRecord) -> None:
        """A query was voted on under `version`."""
        self._records[version].append(record)

    def stats(self, version: int) -> PolicyStats | None:
        """How a version answers, or None if nothing is known of it."""
        records = self._records.get(version)
        return PolicyStats.of(records) if records else None

    def enough(self, version: int) -> bool:
        """Whether a version has answered often enough to be judged by it."""
        return len(self._records.get(version, ())) >= self._minimum

    def turned(self, version: int, before: int, limits: GateLimits) -> Alarm | None:
        """How answers under `version` are worse than those under `before`. None if they are not,
        or if either has answered too few queries."""
        if not (self.enough(version) and self.enough(before)):
            return None
        # As many of each, the latest: diversity among few queries is not that among many.
        count = min(len(self._records[version]), len(self._records[before]))
        now, then = (PolicyStats.of([*self._records[v]][-count:]) for v in (version, before))
        return changed(now, then, limits)

    def accept(self, version: int, before: int) -> None:
        """The change was looked into and is none of the version's: from here on, it is what later
        votes are compared with."""
        self._records[before] = self._records.pop(version)

    def forget(self, *versions: int) -> None:
        """Start anew with these."""
        for version in versions:
            self._records.pop(version, None)

    def keep(self, versions: Collection[int]) -> None:
        """Forget all others."""
        self.forget(*(self._records.keys() - set(versions)))
