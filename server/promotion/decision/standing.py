"""The standing comparison: the live versions since the best one, with the best one."""

from server.promotion.decision.sequential_test import Bet, Moments

_ALPHA = 0.01
"""Chance of ever going back from a lineage that is no worse than its best version."""


class Standing:
    """Evidence from all trials and checks since a version became the best, of every version that
    was live since: steps that are too small to be proven one by one add up here. Answers that a
    version was itself let pass by are left out: who passes looks better on them than it is."""

    def __init__(self) -> None:
        self._best: str = ""
        self._live: str = ""
        self._bet, self._own = Bet(_ALPHA), Moments()
        self._seen: set[object] = set()
        self.moments = Moments()

    def begin(self, live: str, best: str) -> None:
        """Compare these from now on; names of policies. While they are one, nothing is known."""
        if best != self._best or live == best:
            self._best, self._bet, self.moments = best, Bet(_ALPHA), Moments()
            self._seen.clear()
        if live != self._live:
            self._live, self._own = live, Moments()
            self._seen.clear()

    def add(self, key: object, difference: float) -> None:
        """Add live minus best on a query; `key` tells answers apart that were drawn but once."""
        if key in self._seen:
            return
        self._seen.add(key)
        self._bet.stake(-difference)
        self._own.add(difference)
        self.moments.add(difference)

    @property
    def pair(self) -> tuple[str, str]:
        """The names of live and best."""
        return self._live, self._best

    @property
    def worse(self) -> bool:
        """Whether the lineage is proven worse than its best version, and the live one looks it."""
        return self._bet.won and self._own.mean < 0
