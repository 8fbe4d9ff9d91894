"""Adapter releases: what the learner publishes and the server promotes.

State of a release: candidate -> live -> retired, or candidate -> rejected; candidate or retired ->
withdrawn, when its training data must go. One version is live at a time; version 0, the base model,
has no record. The live pointer moves by compare-and-set only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

import orjson

from adapter.store.judgement import StepVerdict, numbers_on_record
from adapter.store.ledger import LedgerEntry

BASE = 0


class Fenced(Exception):
    """The caller's learner lease is over; another learner may be at work. Its write was refused."""


class UnknownRelease(LookupError):
    """No release has that version, or its state does not allow what was asked."""


class ReleaseState(StrEnum):
    CANDIDATE = "candidate"
    LIVE = "live"
    REJECTED = "rejected"
    RETIRED = "retired"
    WITHDRAWN = "withdrawn"


CLOSED = frozenset({ReleaseState.REJECTED, ReleaseState.WITHDRAWN})
"""States of releases that can never be served again."""


@dataclass(frozen=True, slots=True)
class AdapterRelease:
    """One adapter version. `folder` is its name inside the adapters folder, `sha256` its content's.

    `sample_ids` are the groups it was trained on; `metrics` the learner's numbers; `steps` the
    server's verdicts once judged, `reason` its words; `verdict` such numbers of before steps were
    kept; `config` the hash of the learner's settings; `clients` the pseudonyms of those whose
    groups are in it, and of their holders.
    """

    version: int
    parent: int
    folder: str
    sha256: str
    sample_ids: Sequence[str]
    metrics: Mapping[str, float]
    created_at: float
    state: ReleaseState = ReleaseState.CANDIDATE
    reason: str = ""
    verdict: Mapping[str, float] = field(default_factory=dict[str, float])
    config: str = ""
    clients: Sequence[str] = field(default_factory=list[str])
    steps: Sequence[StepVerdict] = field(default_factory=list[StepVerdict])

    @property
    def numbers(self) -> dict[str, float]:
        """The server's numbers and stage timings by their names on record."""
        return {**self.verdict, **numbers_on_record(self.steps)}

    def shown(self) -> dict[str, Any]:
        """The record for people and programs to read, with all numbers in `verdict`."""
        return {**asdict(self), "verdict": self.numbers}

    def to_json(self) -> bytes:
        """The record as stored."""
        return orjson.dumps(self)

    def promoted(self, reason: str, steps: Sequence[StepVerdict]) -> "AdapterRelease":
        """This release, live; earlier verdicts are kept."""
        steps = [*self.steps, *steps]
        return replace(self, state=ReleaseState.LIVE, reason=reason, steps=steps)

    def rejected(self, reason: str, steps: Sequence[StepVerdict]) -> "AdapterRelease":
        """This release, closed for good."""
        return replace(self, state=ReleaseState.REJECTED, reason=reason, steps=list(steps))

    def withdrawn(self, reason: str) -> "AdapterRelease":
        """This release, closed for good because of what it was trained on."""
        return replace(self, state=ReleaseState.WITHDRAWN, reason=reason)

    def retired(self) -> "AdapterRelease":
        """This release, no longer live."""
        return replace(self, state=ReleaseState.RETIRED)

    @staticmethod
    def from_json(data: bytes) -> "AdapterRelease":
        """Inverse of `to_json`."""
        return AdapterRelease.from_record(orjson.loads(data))

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "AdapterRelease":
        """A release from its parsed JSON."""
        steps = [StepVerdict.from_record(step) for step in record.get("steps", ())]
        fields: dict[str, Any] = {**record, "state": ReleaseState(record["state"]), "steps": steps}
        return AdapterRelease(**fields)


class ReleaseStore(Protocol):
    """Shared by learner and servers. Every method may raise BufferUnavailable."""

    async def acquire(self, ttl: float) -> int | None:
        """Take the lease for `ttl` seconds. Returns a fencing token, or None if it is held."""
        ...

    async def take_over(self, ttl: float) -> int:
        """Take over the lease, whoever holds it. Returns a fencing token."""
        ...

    async def renew(self, token: int, ttl: float) -> bool:
        """Renew the lease. False if it is lost."""
        ...

    async def resign(self, token: int) -> None:
        """Give up the lease if it is still held."""
        ...

    async def reserve(self) -> int:
        """A version number never given out before."""
        ...

    async def publish(self, release: AdapterRelease, token: int) -> None:
        """Record a candidate and mark its samples trained, at once. Raises Fenced."""
        ...

    async def trained(self, group_ids: Sequence[str]) -> set[str]:
        """Those of these groups that are part of a release."""
        ...

    async def live(self) -> int:
        """The version being served; 0 is the base."""
        ...

    async def get(self, version: int) -> AdapterRelease:
        """One release. Raises UnknownRelease."""
        ...

    async def all(self) -> list[AdapterRelease]:
        """Every release, oldest first."""
        ...

    async def promote(
        self, version: int, expected: int, reason: str, steps: Sequence[StepVerdict] = ()
    ) -> bool:
        """Make a release live if `expected` still is; the old one retires. False if it is not, or
        if the release is closed.

        Every change of a release is written to the ledger with it, in one step.
        """
        ...

    async def reject(self, version: int, reason: str, steps: Sequence[StepVerdict] = ()) -> None:
        """Close a candidate for good."""
        ...

    async def withdraw(self, version: int, reason: str) -> bool:
        """Close a candidate or retired release for good. False if it is neither."""
        ...

    async def untrain(self, group_ids: Sequence[str]) -> None:
        """Remove these groups from those that are part of a release."""
        ...

    async def pause(self, reason: str | None) -> None:
        """Stop judging candidates for the given reason; None resumes."""
        ...

    async def paused(self) -> str | None:
        """Why judging is paused; None if it is not."""
        ...

    async def judges(self, server: str, ttl: float) -> bool:
        """Whether this server is the one that judges candidates, for `ttl` more seconds: it is if
        no other is."""
        ...

    async def tried(self, version: int) -> int | None:
        """How often the engine has ended while this candidate was tried, as noted last; None if
        nothing is noted."""
        ...

    async def note_trial(self, version: int, ends: int | None) -> None:
        """Note that this candidate is about to be tried, and how often the engine has ended over
        it; None once it is decided."""
        ...

    async def ledger(self) -> list[LedgerEntry]:
        """Every change, oldest first."""
        ...

    async def wait(self, seen: str, seconds: float) -> str:
        """Wait for a change after the mark `seen` ("" for none yet); returns the newest mark."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


def ancestry(version: int, known: Mapping[int, AdapterRelease]) -> list[int]:
    """A version and its ancestors without base, newest first. Raises UnknownRelease for records
    that name no older version as a parent: such a line might never end."""
    line: list[int] = []
    while version != BASE:
        if version not in known or not BASE <= known[version].parent < version:
            raise UnknownRelease(f"v{version}: what is on record of its parent cannot be true")
        line.append(version)
        version = known[version].parent
    return line


def best_of(version: int, known: Mapping[int, AdapterRelease]) -> int:
    """The best version of the lineage of `version`: the newest that its trial proved better than
    the best before it, and that can still be served; base if there is none."""
    while version in known:
        release = known[version]
        if release.state not in CLOSED and release.numbers.get("gate/better") == 1.0:
            return version
        version = release.parent
    return BASE


async def promote_by_hand(store: ReleaseStore, version: int) -> int:
    """Serve a candidate or retired version whatever the gate says. Returns the one served before.

    Raises UnknownRelease.
    """
    release, live = await store.get(version), await store.live()
    if release.state not in (ReleaseState.CANDIDATE, ReleaseState.RETIRED):
        raise UnknownRelease(f"v{version} is {release.state}: it cannot be promoted")
    await _move(store, version, live, "promoted by hand")
    return live


async def rollback(store: ReleaseStore, to: int | None = None) -> tuple[int, int]:
    """Serve an earlier version again: `to`, else the live one's parent. Returns (from, to).

    Raises UnknownRelease if nothing is live, or `to` was never live.
    """
    live = await store.live()
    if live == BASE:
        raise UnknownRelease("the base model is live: there is nothing to roll back")
    target = (await store.get(live)).parent if to is None else to
    if target != BASE and (await store.get(target)).state is not ReleaseState.RETIRED:
        raise UnknownRelease(f"version {target} was never live: it cannot be rolled back to")
    await _move(store, target, live, f"rollback from v{live}")
    return live, target


async def _move(store: ReleaseStore, target: int, live: int, reason: str) -> None:
    if not await store.promote(target, live, reason):
        raise UnknownRelease(f"v{live} is no longer live: look at the list and try again")
