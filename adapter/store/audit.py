"""Checks ledger, records and adapter folders against each other: `ratchet releases verify`."""

from collections.abc import AsyncIterator

from adapter.store.adapter_folders import AdapterFolders, learner_state
from adapter.store.ledger import fault_in
from adapter.store.releases import BASE, AdapterRelease, ReleaseState, ReleaseStore


async def faults(store: ReleaseStore, folders: AdapterFolders) -> AsyncIterator[str]:
    """Every fault in words: in the chain, in the records against it, in the adapter folders.

    Folders of live and candidates must exist; others are checked if they do.
    """
    entries = await store.ledger()
    if broken := fault_in(entries):
        yield f"ledger: {broken}"
    noted: dict[int, AdapterRelease] = {}
    live = BASE
    for entry in entries:
        if entry.live != live and live in noted:
            noted[live] = noted[live].retired()
        live = entry.live
        if entry.record is not None:
            noted[entry.version] = AdapterRelease.from_record(entry.record)
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
        needed = release.state in (ReleaseState.LIVE, ReleaseState.CANDIDATE)
        there = needed or (folders.root / release.folder).is_dir()
        if there and (fault := folders.fault(release)):
            yield f"v{release.version}: {fault}"
        elif there and learner_state(folders.root / release.folder) is None:
            yield f"v{release.version}: what its learner kept is missing or damaged"
