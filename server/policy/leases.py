"""Which policy version answers: the live pointer, the loaded versions, and the leases on them."""

import asyncio
import random
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from adapter.store.releases import BASE


class UnknownModel(LookupError):
    """The requested model name is not being served."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One request's hold on a version. `pinned` if the client named the version itself."""

    version: int
    engine_name: str
    pinned: bool


class Policy:
    """The server's view of the lineage. Flips are atomic: a lease never sees half of one."""

    def __init__(self, name: str, base_engine_name: str) -> None:
        self.name = name
        self._names = {BASE: base_engine_name}
        self.live = BASE
        """Version that answers under the plain model name; set by `switch`."""
        self.best = BASE
        """The best version so far, which trials compare with too: loaded, or base."""
        self.canary: int | None = None
        """Version that answers a share of the requests for the plain model name, if any does."""
        self._canary_share = 0.0
        self._harmed: set[int] = set()
        self._held: Counter[int] = Counter()
        self._awaited: dict[int, asyncio.Event] = {}

    @property
    def loaded(self) -> list[int]:
        """Versions the engine holds, base first."""
        return sorted(self._names)

    @property
    def held(self) -> int:
        """Leases that are held."""
        return self._held.total()

    def engine_name(self, version: int) -> str:
        """The engine's name of a loaded version."""
        return self._names[version]

    def name_of(self, version: int) -> str:
        """The client-facing name that pins a version."""
        return f"{self.name}@base" if version == BASE else f"{self.name}@v{version}"

    @property
    def unjudged(self) -> int:
        """The version that answers what no trial sees: the live one, or base while that is known
        to do harm there."""
        return BASE if self.live in self._harmed else self.live

    def add(self, version: int, engine_name: str, *, harmed: bool = False) -> None:
        """Add a version that the engine has loaded; `harmed` if the guards found harm."""
        self._names[version] = engine_name
        self._harmed = self._harmed | {version} if harmed else self._harmed - {version}

    def remove(self, version: int) -> str:
        """Stop offering a version, though leases may still be held; returns its engine name."""
        if version == self.canary:
            self.end_canary()
        return self._names.pop(version)

    def switch(self, version: int) -> None:
        """Send new requests to `version`. Raises UnknownModel unless it is loaded."""
        if version not in self._names:
            raise UnknownModel(f"version {version} is not loaded")
        self.live = version

    def begin_canary(self, version: int, share: float) -> None:
        """Have `version`, which is loaded, answer this share of the plain name's requests."""
        self.canary, self._canary_share = version, share

    def end_canary(self) -> None:
        """Send all requests to the live version again."""
        self.canary = None

    def resolve(self, model: str, *, judged: bool = True) -> int:
        """The version that answers under a name; `judged` if it is traffic as trials see it. Raises
        UnknownModel."""
        if model == self.name:
            if not judged:
                return self.unjudged
            if self.canary is not None and random.random() < self._canary_share:
                return self.canary
            return self.live
        for version in self._names:
            if model == self.name_of(version):
                return version
        raise UnknownModel(f"The model `{model[:64]}` does not exist or is no longer loaded")

    @contextmanager
    def lease(self, model: str, *, judged: bool = True) -> Generator[Lease, None, None]:
        """Hold the version that `resolve` gives while the block runs. Raises UnknownModel."""
        version = self.resolve(model, judged=judged)
        with self.hold(version):
            yield Lease(version, self._names[version], model != self.name)

    @contextmanager
    def hold(self, version: int) -> Generator[None, None, None]:
        """Keep a version loaded while the block runs."""
        self._held[version] += 1
        try:
            yield
        finally:
            self._held[version] -= 1
            if not self._held[version]:
                del self._held[version]
                if version in self._awaited:
                    self._awaited.pop(version).set()

    async def drained(self, version: int) -> None:
        """Wait until no lease on `version` is held."""
        if self._held[version]:
            await self._awaited.setdefault(version, asyncio.Event()).wait()
