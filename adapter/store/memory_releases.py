"""A release store inside one process, for trials and tests."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from adapter.store.judgement import StepVerdict
from adapter.store.ledger import LedgerEntry, entry_after
from adapter.store.releases import (
    BASE,
    CLOSED,
    AdapterRelease,
    Fenced,
    ReleaseState,
    UnknownRelease,
)


class MemoryReleases:
    """ReleaseStore on a dict."""

    def __init__(self) -> None:
        self.records: dict[int, AdapterRelease] = {}
        self._trained: set[str] = set()
        self.pointer = BASE
        self._last_version = 0
        self._fence = 0
        self._lease_ends = 0.0
        self.entries: list[LedgerEntry] = []
        self._paused: str | None = None
        self._judge, self._judge_ends = "", 0.0
        self._tried: dict[int, int] = {}
        self._changed = asyncio.Condition()

    async def acquire(self, ttl: float) -> int | None:
        if time.monotonic() < self._lease_ends:
            return None
        return await self.take_over(ttl)

    async def take_over(self, ttl: float) -> int:
        self._fence += 1
        self._lease_ends = time.monotonic() + ttl
        return self._fence

    async def renew(self, token: int, ttl: float) -> bool:
        if not self._holds(token):
            return False
        self._lease_ends = time.monotonic() + ttl
        return True

    async def resign(self, token: int) -> None:
        if self._holds(token):
            self._lease_ends = 0.0

    async def reserve(self) -> int:
        self._last_version += 1
        return self._last_version

    async def publish(self, release: AdapterRelease, token: int) -> None:
        if not self._holds(token):
            raise Fenced(f"lease {token} is over")
        self.records[release.version] = release
        self._trained.update(release.sample_ids)
        await self._note("published", release.version)

    async def trained(self, group_ids: Sequence[str]) -> set[str]:
        return self._trained.intersection(group_ids)

    async def live(self) -> int:
        return self.pointer

    async def get(self, version: int) -> AdapterRelease:
        try:
            return self.records[version]
        except KeyError:
            raise UnknownRelease(f"there is no version {version}") from None

    async def all(self) -> list[AdapterRelease]:
        return [self.records[version] for version in sorted(self.records)]

    async def promote(
        self, version: int, expected: int, reason: str, steps: Sequence[StepVerdict] = ()
    ) -> bool:
        if self.pointer != expected:
            return False
        if version != BASE:
            release = await self.get(version)
            if release.state in CLOSED:
                return False
            self.records[version] = release.promoted(reason, steps)
        if expected not in (BASE, version):
            self.records[expected] = self.records[expected].retired()
        self.pointer = version
        await self._note("promoted", version, reason)
        return True

    async def reject(self, version: int, reason: str, steps: Sequence[StepVerdict] = ()) -> None:
        release = await self.get(version)
        if release.state is not ReleaseState.CANDIDATE:
            return
        self.records[version] = release.rejected(reason, steps)
        await self._note("rejected", version, reason)

    async def withdraw(self, version: int, reason: str) -> bool:
        release = await self.get(version)
        if release.state not in (ReleaseState.CANDIDATE, ReleaseState.RETIRED):
            return False
        self.records[version] = release.withdrawn(reason)
        await self._note("withdrawn", version, reason)
        return True

    async def untrain(self, group_ids: Sequence[str]) -> None:
        self._trained.difference_update(group_ids)

    async def pause(self, reason: str | None) -> None:
        self._paused = reason
        await self._note("resumed" if reason is None else "paused", self.pointer, reason or "")

    async def paused(self) -> str | None:
        return self._paused

    async def judges(self, server: str, ttl: float) -> bool:
        if self._judge != server and time.monotonic() < self._judge_ends:
            return False
        self._judge, self._judge_ends = server, time.monotonic() + ttl
        return True

    async def tried(self, version: int) -> int | None:
        return self._tried.get(version)

    async def note_trial(self, version: int, ends: int | None) -> None:
        if ends is None:
            self._tried.pop(version, None)
        else:
            self._tried[version] = ends

    async def ledger(self) -> list[LedgerEntry]:
        return list(self.entries)

    async def wait(self, seen: str, seconds: float) -> str:
        async with self._changed:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait_for(lambda: str(len(self.entries)) != (seen or "0"))
            return str(len(self.entries))

    async def close(self) -> None:
        self._lease_ends = 0.0

    def _holds(self, token: int) -> bool:
        return token == self._fence and time.monotonic() < self._lease_ends

    async def _note(self, event: str, version: int, note: str = "") -> None:
        head = self.entries[-1] if self.entries else None
        record = self.records[version].to_json() if version in self.records else None
        entry = entry_after(
            head, at=time.time(), event=event, version=version, live=self.pointer, record=record,
            note=note,
        )  # fmt: skip
        async with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()
