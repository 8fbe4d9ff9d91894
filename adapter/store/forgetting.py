"""Forgetting a client: its groups go, and so does every version that learnt from them.

Every step can be repeated, so the next call completes one that was interrupted; until then no
candidate is judged. The order keeps other clients' groups from being learnt twice: what a withdrawn
version was trained on waits again only after that version can no longer be served.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from adapter.lease import under_lease
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.buffer import Forgotten, RolloutBuffer
from adapter.store.clients import pseudonym_under
from adapter.store.releases import (
    BASE,
    AdapterRelease,
    Fenced,
    ReleaseState,
    ReleaseStore,
    ancestry,
)

REASON = "a client was forgotten"
_LEASE_SECONDS = 15.0
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Report:
    """What was removed, the live version before and after, the versions withdrawn, how many groups
    of other clients wait to be learnt from again, and what each server that was there has removed
    from its memory, None if it has not said so."""

    removed: Forgotten
    left: int
    live: int
    withdrawn: Sequence[int]
    replayed: int
    servers: Mapping[str, Mapping[str, int] | None]


async def forget(
    client: str,
    buffer: RolloutBuffer,
    releases: ReleaseStore,
    folders: AdapterFolders,
    patience: float = 10.0,
) -> Report:
    """Opt a client out, or all users of a holder (`NAME` or `NAME/*`), remove all that is stored of
    it, and go back to the newest version that never saw it; then wait up to `patience` seconds for
    the servers to have cleared their memories. Raises BufferUnavailable, and Fenced if another
    process took over the lease; and ReleaseCorrupt, before anything is touched, for a record whose
    folder is none of ours."""
    for release in await releases.all():
        folders.path(release)
    name = pseudonym_under(client)
    new = name not in await buffer.opted_out()
    await buffer.opt_out(name)  # from here on nothing new comes in
    if await releases.paused() is None:
        await releases.pause(REASON)
    token = await releases.take_over(_LEASE_SECONDS)  # a learner at work must not publish any more
    work = _forget(name, buffer, releases, folders)
    try:
        report = await under_lease(releases, token, _LEASE_SECONDS, work)
    except Fenced:
        raise Fenced("somebody else took the learner's lease: try again") from None
    if await releases.paused() == REASON:
        await releases.pause(None)
    return replace(report, servers=await _cleared(name, buffer, patience) if new else {})


async def _cleared(
    client: str, buffer: RolloutBuffer, patience: float
) -> Mapping[str, Mapping[str, int] | None]:
    """What the servers have removed from their memories, once all have said so; or in the end."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while True:
        said = await buffer.confirmations(client)
        if None not in said.values() or loop.time() > until:
            return said
        await asyncio.sleep(_LOOK_SECONDS)


async def _forget(
    client: str, buffer: RolloutBuffer, releases: ReleaseStore, folders: AdapterFolders
) -> Report:
    removed = await buffer.forget(client)
    known = await _by_version(releases)
    for version in _seen_by(client, known):
        if known[version].state is ReleaseState.CANDIDATE:  # before a server can promote it
            await releases.withdraw(version, REASON)
    left = await releases.live()
    live = await _go_back(client, releases, folders)
    unwanted = _unwanted(client, live, await _by_version(releases), folders)
    withdrawn = [version for version in unwanted if await releases.withdraw(version, REASON)]
    everything = await releases.all()
    gone = [release for release in everything if release.state is ReleaseState.WITHDRAWN]
    elsewhere = {i for r in everything if r not in gone for i in r.sample_ids}
    groups = [i for r in gone for i in r.sample_ids if i not in elsewhere]
    await releases.untrain(groups)
    replayed = await buffer.replay(groups)
    await asyncio.to_thread(folders.remove, [release.folder for release in gone])
    return Report(removed, left, live, withdrawn, replayed, {})


async def _go_back(client: str, releases: ReleaseStore, folders: AdapterFolders) -> int:
    """Serve the newest version of the live lineage that never saw the client; returns it."""
    while True:
        live, known = await releases.live(), await _by_version(releases)
        seen = _seen_by(client, known)
        if live not in seen:
            return live
        clean = [version for version in ancestry(live, known) if version not in seen]
        target = next((v for v in clean if not folders.fault(known[v])), BASE)
        if await releases.promote(target, live, REASON):
            return target


def _unwanted(
    client: str, live: int, known: Mapping[int, AdapterRelease], folders: AdapterFolders
) -> list[int]:
    """Versions that saw the client, and ancestors of theirs that did not but whose folder is gone,
    so that nothing can go back to them."""
    seen = _seen_by(client, known)
    passed = {v for version in seen for v in ancestry(version, known)}
    passed -= {*seen, *ancestry(live, known)}
    return sorted(seen | {version for version in passed if folders.fault(known[version])})


async def _by_version(releases: ReleaseStore) -> Mapping[int, AdapterRelease]:
    return {release.version: release for release in await releases.all()}


def _seen_by(client: str, known: Mapping[int, AdapterRelease]) -> set[int]:
    """Versions that were, or whose ancestors were, trained on a group of the client."""
    saw = {version for version in known if client in known[version].clients}
    return {version for version in known if not saw.isdisjoint(ancestry(version, known))}
