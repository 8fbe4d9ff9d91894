"""The version being served and its ancestors: what counts as recent, and what as another branch."""

from collections.abc import Iterable

from adapter.releases import BASE, AdapterRelease


class Lineage:
    """Versions from base to the live one. Starts empty: nothing is followed yet."""

    def __init__(self) -> None:
        self._versions: list[int] = []

    @property
    def tip(self) -> int | None:
        """The live version, as far as followed."""
        return self._versions[-1] if self._versions else None

    def clear(self) -> None:
        """Follow nothing."""
        self._versions = []

    def follow(self, live: int, releases: Iterable[AdapterRelease]) -> None:
        """Take up the ancestry of `live`."""
        parents = {release.version: release.parent for release in releases}
        self._versions = [live]
        while self._versions[0] != BASE:
            self._versions.insert(0, parents[self._versions[0]])

    def grow(self, version: int) -> None:
        """A child of the tip has gone live."""
        self._versions.append(version)

    def lag(self, version: int) -> int | None:
        """Promotions since `version` was live; None if it is not an ancestor."""
        if version not in self._versions:
            return None
        return len(self._versions) - 1 - self._versions.index(version)
