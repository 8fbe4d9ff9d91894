"""The ledger's chain, and what the audit finds when something on record was touched."""

from dataclasses import replace
from pathlib import Path

import pytest

from adapter.store.adapter_folders import WEIGHTS, AdapterFolders, learner_folder
from adapter.store.audit import faults
from adapter.store.ledger import GENESIS, LedgerEntry, entry_after, fault_in
from adapter.store.memory_releases import MemoryReleases
from adapter.store.releases import AdapterRelease


def chain(length: int) -> list[LedgerEntry]:
    entries: list[LedgerEntry] = []
    for index in range(length):
        head = entries[-1] if entries else None
        entries.append(
            entry_after(
                head, at=float(index), event="published", version=index, live=0, record=b'{"v": 1}'
            )
        )
    return entries


def test_entries_follow_each_other() -> None:
    first, second = chain(2)
    assert (first.seq, first.previous) == (1, GENESIS)
    assert (second.seq, second.previous) == (2, first.hash)
    assert LedgerEntry.from_json(second.to_json()) == second
    assert fault_in([]) is None
    assert fault_in(chain(5)) is None


@pytest.mark.parametrize(
    "change",
    [{"at": 9.0}, {"event": "promoted"}, {"version": 9}, {"live": 9}, {"record": {"v": 2}},
     {"record": None}, {"note": "x"}],
)  # fmt: skip
def test_an_altered_entry_is_found(change) -> None:
    entries = chain(5)
    entries[2] = replace(entries[2], **change)
    assert fault_in(entries) == "entry 3 was altered"
    entries[2] = entries[2].sealed()  # even if its own hash is made to fit
    assert fault_in(entries) == "entry 4 does not follow entry 3"


def test_a_dropped_or_inserted_entry_is_found() -> None:
    entries = chain(5)
    assert fault_in(entries[:2] + entries[3:]) == "entry 3 is missing: found 4 in its place"
    assert fault_in([*entries[:2], entries[1], *entries[2:]]) is not None
    assert fault_in(entries[1:]) == "entry 1 is missing: found 2 in its place"


class Bench:
    """Three releases: v1 retired, v2 live, v3 rejected; the folders of all."""

    def __init__(self, root: Path) -> None:
        self.store, self.folders = MemoryReleases(), AdapterFolders(root)

    async def fill(self) -> None:
        token = await self.store.acquire(5.0)
        assert token is not None
        for version, parent in ((1, 0), (2, 1), (3, 2)):
            name, digest = self.folders.commit(version, self._write)
            release = AdapterRelease(version, parent, name, digest, ["g"], {"kl": 0.1}, 0.0)
            await self.store.publish(release, token)
            if version < 3:
                await self.store.promote(version, parent, "passed")
        await self.store.reject(3, "worse")

    @staticmethod
    def _write(folder: Path) -> None:
        (folder / WEIGHTS).write_bytes(folder.name.encode() * 100)
        learner_folder(folder).mkdir()
        (learner_folder(folder) / "moments").write_bytes(b"1")

    async def found(self) -> list[str]:
        return [fault async for fault in faults(self.store, self.folders)]


@pytest.fixture
async def bench(tmp_path) -> Bench:
    made = Bench(tmp_path)
    await made.fill()
    return made


async def test_all_is_well(bench: Bench) -> None:
    assert await bench.found() == []
    await bench.store.promote(1, 2, "rollback from v2")
    await bench.store.pause("a look")
    await bench.store.promote(0, 1, "rollback from v1")
    assert await bench.found() == []
    assert [fault async for fault in faults(MemoryReleases(), bench.folders)] == []


async def test_a_pruned_folder_of_a_retired_version_is_fine(bench: Bench) -> None:
    live = (await bench.store.get(2)).folder
    bench.folders.prune({live})
    assert await bench.found() == []
    bench.folders.prune(set())
    assert await bench.found() == [f"v2: {live}: no {WEIGHTS}"]


async def test_touched_weights_are_found(bench: Bench) -> None:
    release = await bench.store.get(2)
    (bench.folders.root / release.folder / WEIGHTS).write_bytes(b"other")
    [fault] = await bench.found()
    assert fault.startswith(f"v2: {release.folder}: content is ")


async def test_touched_learner_state_is_found(bench: Bench) -> None:
    release = await bench.store.get(2)
    (learner_folder(bench.folders.root / release.folder) / "moments").write_bytes(b"other")
    assert await bench.found() == ["v2: what its learner kept is missing or damaged"]


async def test_touched_records_are_found(bench: Bench) -> None:
    records = bench.store.records
    records[1] = replace(records[1], metrics={"kl": 0.0})
    assert await bench.found() == ["v1: its record is not what the ledger says"]
    records[1] = replace(records[1], metrics={"kl": 0.1})
    lost = records.pop(3)
    assert await bench.found() == ["v3: its record is gone"]
    records[3] = lost
    records[9] = replace(lost, version=9)
    assert await bench.found() == ["v9: nothing in the ledger says where it comes from"]


async def test_a_moved_pointer_and_a_cut_ledger_are_found(bench: Bench) -> None:
    bench.store.pointer = 1
    assert await bench.found() == ["v1 is live, the ledger says v2"]
    bench.store.pointer = 2
    del bench.store.entries[2]
    assert (await bench.found())[0] == "ledger: entry 3 is missing: found 4 in its place"
