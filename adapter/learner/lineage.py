"""The live version and its ancestors: which groups are recent, and how much was learnt.

Label-free learning sharpens what a model already believes; after too many queries the model
collapses (docs/rewards.md). So a lineage has an age (distinct queries learnt from) and a budget.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from adapter.store.releases import BASE, AdapterRelease, ReleaseState, ancestry

AGE = "lineage/queries"
"""Metric of a release: distinct queries that it and its ancestors learnt from."""
_QUERIES = "lineage.bin"
_DIGEST = 8


class Lineage:
    """Versions from base to the live one; empty until `follow`."""

    def __init__(self) -> None:
        self._versions: list[int] = []
        self._queries: set[bytes] = set()
        self._next: set[bytes] = set()

    @property
    def tip(self) -> int | None:
        """The live version, or None before `follow`."""
        return self._versions[-1] if self._versions else None

    @property
    def age(self) -> int:
        """Distinct queries learnt from."""
        return len(self._queries)

    def clear(self) -> None:
        """Follow nothing."""
        self._versions = []

    def follow(self, live: int, releases: Iterable[AdapterRelease], folder: Path | None) -> None:
        """Adopt the ancestry of `live`, whose adapter folder this is (None for base)."""
        known = {release.version: release for release in releases}
        self._versions = [BASE, *reversed(ancestry(live, known))]
        file = None if folder is None else folder / _QUERIES
        data = file.read_bytes() if file is not None and file.is_file() else b""
        self._queries = {data[at : at + _DIGEST] for at in range(0, len(data), _DIGEST)}

    def consider(self, prompts: Iterable[str]) -> int:
        """Add the prompts that the next version learns from; returns its age."""
        digests = (hashlib.sha256(prompt.encode()).digest()[:_DIGEST] for prompt in prompts)
        self._next = self._queries.union(digests)
        return len(self._next)

    def save(self, folder: Path) -> None:
        """Write the digests of all that the next version learnt from into its folder."""
        (folder / _QUERIES).write_bytes(b"".join(sorted(self._next)))

    def grow(self, version: int) -> None:
        """Make the next version, which has gone live, the tip."""
        self._versions.append(version)
        self._queries = self._next

    def recent(self, lag: int) -> list[int]:
        """Versions whose `lag` is at most this."""
        return self._versions[-lag - 1 :]

    def lag(self, version: int) -> int | None:
        """Promotions since `version` was live; None if it is not an ancestor."""
        if version not in self._versions:
            return None
        return len(self._versions) - 1 - self._versions.index(version)


def last_good(releases: Sequence[AdapterRelease], live: int, budget: int) -> int:
    """The newest of `live` and its ancestors that was served, so has passed the gate, and has at
    least half of the age budget left; base if there is none."""
    known = {release.version: release for release in releases}
    for version in ancestry(live, known):
        served = known[version].state in (ReleaseState.LIVE, ReleaseState.RETIRED)
        if served and known[version].metrics.get(AGE, 0) <= budget / 2:
            return version
    return BASE
