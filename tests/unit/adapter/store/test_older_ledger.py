"""Entries that an earlier version wrote, before a release kept its steps, are read as they are."""

import json
from pathlib import Path

import orjson

from adapter.store.judgement import Step, StepVerdict
from adapter.store.ledger import LedgerEntry, fault_in
from adapter.store.releases import AdapterRelease, ReleaseState

DATA = Path(__file__).parent / "data" / "ledger_before_steps.json"
ENTRIES = [LedgerEntry.from_json(orjson.dumps(entry)) for entry in json.loads(DATA.read_text())]


def test_their_chain_holds() -> None:
    assert [entry.event for entry in ENTRIES] == ["published", "promoted", "published"]
    assert fault_in(ENTRIES) is None


def test_their_numbers_are_found_and_later_steps_join_them() -> None:
    record = ENTRIES[1].record
    assert record is not None and "steps" not in record
    release = AdapterRelease.from_record(record)
    assert release.state is ReleaseState.LIVE
    assert release.numbers == record["verdict"]
    watched = StepVerdict(Step.MONITOR, passed=True, numbers={"base/margin": 0.5}, seconds=2.0)
    later = release.promoted("rollback from v2", [watched])
    assert later.numbers["monitor/base/margin"] == 0.5
    assert later.numbers["parity/to_trainer"] == record["verdict"]["parity/to_trainer"]
    assert AdapterRelease.from_json(later.to_json()) == later
