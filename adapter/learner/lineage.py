"""The version being served and its ancestors: what counts as recent, and how much they learnt from.

Label-free learning sharpens what a model already believes; on many queries for long it collapses
(docs/rewards.md). So a lineage has an age, the distinct queries it has learnt from, and a budget.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from adapter.store.releases import BASE, AdapterRelease, ReleaseState

AGE = "lineage/queries"
"""Metric of a release: distinct queries that it and its ancestors learnt from."""
_QUERIES = "lineage.bin"
_DIGEST = 8


class Lineage:
    """Versions from base to the live one. Starts empty: nothing is followed yet."""

    def __init__(self) -> None:
        self._versions: list[int] = []
        self._queries: set[bytes] = set()
        self._next: set[bytes] = set()

    @property
    def tip(self) -> int | None:
        """The live version, as far as followed."""
        return self._versions[-1] if self._versions else None

    @property
    def age(self) -> int:
        """Distinct queries learnt from."""
        return len(self._queries)

    def clear(self) -> None:
        """Follow nothing."""
        self._versions = []

    def follow(self, live: int, releases: Iterable[AdapterRelease], folder: Path | None) -> None:
        """Take up the ancestry of `live`, whose adapter folder this is (None for base)."""
        parents = {release.version: release.parent for release in releases}
        self._versions = [live]
        while self._versions[0] != BASE:
            self._versions.insert(0, parents[self._versions[0]])
        file = None if folder is None else folder / _QUERIES
        data = file.read_bytes() if file is not None and file.is_file() else b""
        self._queries = {data[at : at + _DIGEST] for at in range(0, len(data), _DIGEST)}

    def consider(self, prompts: Iterable[str]) -> int:
        """Prompts that the next version will have learnt from too; returns its age."""
        digests = (hashlib.sha256(prompt.encode()).digest()[:_DIGEST] for prompt in prompts)
        self._next = self._queries.union(digests)
        return len(self._next)

    def save(self, folder: Path) -> None:
        """Write what the version considered learnt from into its folder, as digests."""
        (folder / _QUERIES).write_bytes(b"".join(sorted(self._next)))

    def grow(self, version: int) -> None:
        """The version considered last, a child of the tip, has gone live."""
        self._versions.append(version)
        self._queries = self._next

    def lag(self, version: int) -> int | None:
        """Promotions since `version` was live; None if it is not an ancestor."""
        if version not in self._versions:
            return None
        return len(self._versions) - 1 - self._versions.index(version)


def last_good(releases: Sequence[AdapterRelease], live: int, budget: int) -> int:
    """The newest of `live` and its ancestors that has at least half of the age budget left; base if
    there is none. Every one of them has passed the gate."""
    known = {release.version: release for release in releases}
    version = live
    while version != BASE:
        release = known[version]
        served = release.state in (ReleaseState.LIVE, ReleaseState.RETIRED)
        if served and release.metrics.get(AGE, 0) <= budget / 2:
            return version
        version = release.parent
    return BASE
