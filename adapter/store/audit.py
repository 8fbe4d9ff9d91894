"""Checks ledger, records and adapter folders against each other: `ratchet releases verify`."""

from collections.abc import AsyncIterator, Sequence

from adapter.store.adapter_folders import AdapterFolders, ReleaseCorrupt, learner_state
from adapter.store.ledger import (
    KEY_FILE,
    LedgerEntry,
    LedgerKey,
    LedgerKeyFile,
    LedgerKeyUnusable,
    fault_in,
)
from adapter.store.releases import BASE, AdapterRelease, ReleaseState, ReleaseStore

_FOR_GOOD = ("version", "parent", "folder", "sha256", "sample_ids", "created_at", "clients")
"""What no change of a release changes."""


async def faults(store: ReleaseStore, folders: AdapterFolders) -> AsyncIterator[str]:
    """Every fault in words: in the chain, in the records against it, in the adapter folders. The
    ledger's key is the one in `folders`.

    Folders of live and candidates must exist; others are checked if they do.
    """
    entries = await store.ledger()
    try:
        key = LedgerKeyFile(folders.root / KEY_FILE).read()
    except LedgerKeyUnusable as error:
        key = None
        yield f"ledger: {error}"
    if broken := fault_in(entries, key):
        yield f"ledger: {broken}"
    if key is None and (keyed := [entry for entry in entries if entry.key]):
        yield (
            f"ledger: entries from {keyed[0].seq} on name key {keyed[-1].key}, which is not in "
            f"{folders.root / KEY_FILE}: whether they are authentic cannot be told"
        )
    noted: dict[int, AdapterRelease] = {}
    live = BASE
    for entry in entries:
        if entry.live != live and live in noted:
            noted[live] = noted[live].retired()
        live = entry.live
        if entry.record is not None:
            record = AdapterRelease.from_record(entry.record)
            if entry.version in noted and (changed := _changed(noted[entry.version], record)):
                yield f"v{entry.version}: entry {entry.seq} has another {changed} than those before"
            noted[entry.version] = record
    if await store.live() != live:
        yield f"v{await store.live()} is live, the ledger says v{live}"
    kept = {release.version: release for release in await store.all()}
    for version in sorted({*noted, *kept}):
        if version not in kept:
            yield f"v{version}: its record is gone"
        elif version not in noted:
            yield f"v{version}: nothing in the ledger says where it comes from"
        elif kept[version] != noted[version]:
            yield f"v{version}: its record is not what the ledger says"
    for release in kept.values():
        if fault := _folder_fault(release, folders):
            yield fault


def authentication(entries: Sequence[LedgerEntry], key: LedgerKey | None) -> str:
    """By what a ledger without a fault is known to be ours, in words."""
    if key is None:
        return (
            f"{len(entries)} entries, by their hashes alone: there is no {KEY_FILE} in "
            "adapters_dir, so whoever can write to Redis could have written them"
        )
    known = f"entries to {key.after} by the hash noted when the key was made, " if key.after else ""
    return f"{known}entries from {key.after + 1} to {len(entries)} by key {key.name}"


def _changed(before: AdapterRelease, after: AdapterRelease) -> str:
    """The first thing that differs of those that never do, or nothing."""
    return next((n for n in _FOR_GOOD if getattr(before, n) != getattr(after, n)), "")


def _folder_fault(release: AdapterRelease, folders: AdapterFolders) -> str | None:
    try:
        folder = folders.path(release)
    except ReleaseCorrupt as error:
        return str(error)
    needed = release.state in (ReleaseState.LIVE, ReleaseState.CANDIDATE)
    if not needed and not folder.is_dir():
        return None
    if fault := folders.fault(release):
        return f"v{release.version}: {fault}"
    if learner_state(folder) is None:
        return f"v{release.version}: what its learner kept is missing or damaged"
    return None
