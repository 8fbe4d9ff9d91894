"""The ledger: every change of a release, append-only, each entry hashed over the one before.

An entry that was altered, removed or inserted breaks the chain from there on.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

GENESIS = "0" * 64
"""The first entry's `previous`."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One change: published, promoted, rejected, withdrawn, paused or resumed. `live` and `record`
    are the live version and the release after it (None for the base)."""

    seq: int
    at: float
    event: str
    version: int
    live: int
    record: dict[str, Any] | None
    note: str
    previous: str
    hash: str

    def to_json(self) -> bytes:
        """The entry as stored."""
        return orjson.dumps(self)

    @staticmethod
    def from_json(data: bytes) -> "LedgerEntry":
        """Inverse of `to_json`."""
        return LedgerEntry(**orjson.loads(data))

    def sealed(self) -> "LedgerEntry":
        """This entry with its hash."""
        content = {**asdict(self), "hash": ""}
        text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        return replace(self, hash=hashlib.sha256(text).hexdigest())


def entry_after(
    head: LedgerEntry | None, *, at: float, event: str, version: int, live: int,
    record: bytes | None, note: str = "",
) -> LedgerEntry:  # fmt: skip
    """The next entry of a ledger that ends in `head`; `record` is a release as JSON."""
    return LedgerEntry(
        seq=1 if head is None else head.seq + 1,
        at=at, event=event, version=version, live=live,
        record=None if record is None else orjson.loads(record), note=note,
        previous=GENESIS if head is None else head.hash, hash="",
    ).sealed()  # fmt: skip


def fault_in(entries: Sequence[LedgerEntry]) -> str | None:
    """The first break of the chain in words, or None."""
    previous = GENESIS
    for seq, entry in enumerate(entries, 1):
        if entry.seq != seq:
            return f"entry {seq} is missing: found {entry.seq} in its place"
        if entry.previous != previous:
            return f"entry {seq} does not follow entry {seq - 1}"
        if entry.sealed().hash != entry.hash:
            return f"entry {seq} was altered"
        previous = entry.hash
    return None
