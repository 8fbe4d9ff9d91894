"""Forgetting a client: its groups go, and so does every version that learnt from them.

Every step can be repeated, so a call that was interrupted is completed by the next one; until then
no candidate is judged. The order keeps other clients' groups from being learnt twice: what a
withdrawn version was trained on waits again only after that version can no longer be served.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapter.store.adapter_folders import AdapterFolders, ReleaseCorrupt
from adapter.store.buffer import Forgotten, RolloutBuffer
from adapter.store.clients import pseudonym
from adapter.store.lease import under_lease
from adapter.store.releases import BASE, AdapterRelease, Fenced, ReleaseState, ReleaseStore

REASON = "a client was forgotten"
_LEASE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Report:
    """What was removed, where the live pointer was and is, the versions that are withdrawn now, and
    how many groups of other clients are to be learnt from again."""

    removed: Forgotten
    left: int
    live: int
    withdrawn: Sequence[int]
    replayed: int


async def forget(
    client: str, buffer: RolloutBuffer, releases: ReleaseStore, folders: AdapterFolders
) -> Report:
    """Opt a client out, remove all that is stored of it, and go back to the newest version that
    never saw it. Raises BufferUnavailable, and Fenced if somebody else took over."""
    await buffer.opt_out(pseudonym(client))  # from here on nothing new comes in
    if await releases.paused() is None:
        await releases.pause(REASON)
    token = await releases.seize(_LEASE_SECONDS)  # a learner at work must not publish any more
    work = _forget(pseudonym(client), buffer, releases, folders)
    try:
        report = await under_lease(releases, token, _LEASE_SECONDS, work)
    except Fenced:
        raise Fenced("somebody else took the learner's lease: try again") from None
    if await releases.paused() == REASON:
        await releases.pause(None)
    return report


async def _forget(
    client: str, buffer: RolloutBuffer, releases: ReleaseStore, folders: AdapterFolders
) -> Report:
    removed = await buffer.forget(client)
    for release in await _seen_by(client, releases):
        if release.state is ReleaseState.CANDIDATE:  # before a server can still promote it
            await releases.withdraw(release.version, REASON)
    left = await releases.live()
    live = await _go_back(client, releases, folders)
    withdrawn = [
        version
        for version in await _not_wanted(client, live, releases, folders)
        if await releases.withdraw(version, REASON)
    ]
    everything = await releases.all()
    gone = [release for release in everything if release.state is ReleaseState.WITHDRAWN]
    elsewhere = {i for r in everything if r not in gone for i in r.sample_ids}
    groups = [i for r in gone for i in r.sample_ids if i not in elsewhere]
    await releases.untrain(groups)
    replayed = await buffer.replay(groups)
    await asyncio.to_thread(folders.remove, [release.folder for release in gone])
    return Report(removed, left, live, withdrawn, replayed)


async def _go_back(client: str, releases: ReleaseStore, folders: AdapterFolders) -> int:
    """Serve the newest version of the live lineage that never saw the client; returns it."""
    while True:
        live = await releases.live()
        by_version = {release.version: release for release in await releases.all()}
        clean = [v for v in _line(live, by_version) if not _saw(v, client, by_version)]
        if live in clean:
            return live
        target = next(v for v in clean if v == BASE or _usable(by_version[v], folders))
        if await releases.promote(target, live, REASON):
            return target


async def _not_wanted(
    client: str, live: int, releases: ReleaseStore, folders: AdapterFolders
) -> list[int]:
    """Versions that saw the client, and those on the way to them that no folder is left of: they
    were clean, but could not be gone back to."""
    by_version = {release.version: release for release in await releases.all()}
    seen = {version for version in by_version if _saw(version, client, by_version)}
    passed = {v for version in seen for v in _line(version, by_version)}
    passed -= {*seen, *_line(live, by_version)}
    lost = {version for version in passed if not _usable(by_version[version], folders)}
    return sorted(seen | lost)


async def _seen_by(client: str, releases: ReleaseStore) -> list[AdapterRelease]:
    by_version = {release.version: release for release in await releases.all()}
    return [r for version, r in by_version.items() if _saw(version, client, by_version)]


def _saw(version: int, client: str, by_version: Mapping[int, AdapterRelease]) -> bool:
    """Whether a version, or one it stands on, was trained on a group of the client."""
    return any(client in by_version[v].clients for v in _line(version, by_version) if v != BASE)


def _line(version: int, by_version: Mapping[int, AdapterRelease]) -> list[int]:
    """A version and its ancestors, base last."""
    line = [version]
    while line[-1] != BASE:
        line.append(by_version[line[-1]].parent)
    return line


def _usable(release: AdapterRelease, folders: AdapterFolders) -> bool:
    try:
        folders.verified(release)
    except ReleaseCorrupt:
        return False
    return True
