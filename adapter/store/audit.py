"""Does everything on record hold? What `ratchet releases verify` checks."""

from collections.abc import AsyncIterator

from adapter.store.adapter_folders import AdapterFolders, ReleaseCorrupt
from adapter.store.ledger import fault_in
from adapter.store.releases import BASE, AdapterRelease, ReleaseState, ReleaseStore


async def faults(store: ReleaseStore, folders: AdapterFolders) -> AsyncIterator[str]:
    """Everything that is wrong, in words: the chain, the records against it, the live adapter.

    Only folders that are still kept can be checked; of those, live and candidates must be.
    """
    entries = await store.ledger()
    if broken := fault_in(entries):
        yield f"ledger: {broken}"
    told: dict[int, AdapterRelease] = {}
    live = BASE
    for entry in entries:
        if entry.live != live and live in told:
            told[live] = told[live].retired()
        live = entry.live
        if entry.record is not None:
            told[entry.version] = AdapterRelease.from_record(entry.record)
    if await store.live() != live:
        yield f"v{await store.live()} is live, the ledger says v{live}"
    kept = {release.version: release for release in await store.all()}
    for version in sorted({*told, *kept}):
        if version not in kept:
            yield f"v{version}: its record is gone"
        elif version not in told:
            yield f"v{version}: nothing in the ledger says where it comes from"
        elif kept[version] != told[version]:
            yield f"v{version}: its record is not what the ledger says"
    for release in kept.values():
        needed = release.state in (ReleaseState.LIVE, ReleaseState.CANDIDATE)
        if needed or (folders.root / release.folder).is_dir():
            try:
                folders.verified(release)
            except ReleaseCorrupt as error:
                yield f"v{release.version}: {error}"
