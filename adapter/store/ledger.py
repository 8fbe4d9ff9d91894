"""The ledger: every change of a release, append-only, each entry hashed over the one before.

An entry that was altered, removed or inserted breaks the chain from there on. Whoever can write to
Redis can make another chain: only the key, which Redis does not hold, tells ours from theirs.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from adapter.store.buffer import BufferUnavailable

GENESIS = "0" * 64
"""The first entry's `previous`."""
KEY_FILE = "ledger.key"
"""The key's file in the adapters folder, which learner and servers share and Redis does not see."""
_SECRET_BYTES = 32


class LedgerKeyUnusable(BufferUnavailable):
    """The key cannot be read, so that no change can be written: the message names its file."""


@dataclass(frozen=True, slots=True)
class LedgerKey:
    """Authenticates entries (HMAC-SHA-256). It was made when the ledger had `after` entries, the
    last of them with the hash `head`: these are known by that, all later ones by the key."""

    secret: bytes
    after: int
    head: str

    @property
    def name(self) -> str:
        """What entries name it by: part of a digest, which does not give it away."""
        return hashlib.sha256(b"ratchet ledger key\0" + self.secret).hexdigest()[:8]

    def mac(self, content: bytes) -> str:
        """The authentication code of an entry's content, in hexadecimal."""
        return hmac.new(self.secret, content, hashlib.sha256).hexdigest()


class LedgerKeyFile:
    """The file with the key, which its maker and nobody else may read (mode 600)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: tuple[tuple[int, int], LedgerKey] | None = None

    def read(self) -> LedgerKey | None:
        """The key; None if there is none. Raises LedgerKeyUnusable."""
        try:
            status = self.path.stat()
            stamp = status.st_mtime_ns, status.st_ino
            if self._known is None or self._known[0] != stamp:
                kept: dict[str, Any] = orjson.loads(self.path.read_bytes())
                secret = bytes.fromhex(kept["key"])
                if len(secret) < _SECRET_BYTES:
                    raise ValueError("the key is too short")
                self._known = stamp, LedgerKey(secret, int(kept["after"]), str(kept["head"]))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerKeyUnusable(f"{self.path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerKeyUnusable(f"{self.path} holds no key: {error}") from None
        return self._known[1]

    def make(self, last: "LedgerEntry | None", *, again: bool = False) -> None:
        """Make a key for what follows the entry `last`, durably; in place of one that is there only
        if asked to make it `again`. Raises LedgerKeyUnusable."""
        head = {"after": last.seq, "head": last.hash} if last else {"after": 0, "head": GENESIS}
        content = orjson.dumps({"key": secrets.token_hex(_SECRET_BYTES), **head})
        draft = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if again:
                draft.rename(self.path)
            else:
                with suppress(FileExistsError):  # somebody else made one meanwhile
                    os.link(draft, self.path)
        except OSError as error:
            raise LedgerKeyUnusable(f"{self.path}: {error.strerror}") from None
        finally:
            draft.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One change: published, promoted, rejected, withdrawn, paused or resumed. `live` and `record`
    are the live version and the release after it (None for the base). `mac` authenticates it by the
    key with the name `key`; entries of before there was a key have neither."""

    seq: int
    at: float
    event: str
    version: int
    live: int
    record: dict[str, Any] | None
    note: str
    previous: str
    hash: str
    key: str = ""
    mac: str = ""

    def to_json(self) -> bytes:
        """The entry as stored."""
        return orjson.dumps(self)

    @staticmethod
    def from_json(data: bytes) -> "LedgerEntry":
        """Inverse of `to_json`."""
        return LedgerEntry(**orjson.loads(data))

    def sealed(self, key: LedgerKey | None = None) -> "LedgerEntry":
        """This entry with its hash, authenticated if there is a `key`."""
        named = replace(self, key=key.name if key else "")
        content = named.content()
        mac = key.mac(content) if key else ""
        return replace(named, hash=hashlib.sha256(content).hexdigest(), mac=mac)

    def content(self) -> bytes:
        """What hash and mac are over. That of an entry without a key is as it was before keys."""
        fields = {**asdict(self), "hash": ""}
        del fields["mac"]
        if not self.key:
            del fields["key"]
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def entry_after(
    head: LedgerEntry | None, *, at: float, event: str, version: int, live: int,
    record: bytes | None, note: str = "", key: LedgerKey | None = None,
) -> LedgerEntry:  # fmt: skip
    """The next entry of a ledger that ends in `head`; `record` is a release as JSON."""
    return LedgerEntry(
        seq=1 if head is None else head.seq + 1,
        at=at, event=event, version=version, live=live,
        record=None if record is None else orjson.loads(record), note=note,
        previous=GENESIS if head is None else head.hash, hash="",
    ).sealed(key)  # fmt: skip


def fault_in(entries: Sequence[LedgerEntry], key: LedgerKey | None = None) -> str | None:
    """The first fault in words, or None: a break of the chain; with a `key`, an entry of before it
    that is not as it was then, or a later one that it does not authenticate."""
    previous = GENESIS
    for seq, entry in enumerate(entries, 1):
        if entry.seq != seq:
            return f"entry {seq} is missing: found {entry.seq} in its place"
        if entry.previous != previous:
            return f"entry {seq} does not follow entry {seq - 1}"
        content = entry.content()
        if hashlib.sha256(content).hexdigest() != entry.hash:
            return f"entry {seq} was altered"
        if key is not None and seq > key.after:
            if entry.key != key.name:
                by = f"key {entry.key}" if entry.key else "no key"
                return f"entry {seq} is authenticated by {by}, not by key {key.name}"
            if not hmac.compare_digest(entry.mac, key.mac(content)):
                return f"entry {seq} was not written by a holder of key {key.name}"
        if key is not None and seq == key.after and entry.hash != key.head:
            return f"the entries up to {seq} are not those that key {key.name} was made after"
        previous = entry.hash
    if key is not None and len(entries) < key.after:
        return f"it has {len(entries)} entries, and had {key.after} when key {key.name} was made"
    return None
