"""API keys, hashed at rest, and their quotas.

A key file has a JSON object a line: `name`, `sha256` of the key in hexadecimal, and any limits. It
is read again when it changes. `ratchet keys add NAME` appends a line. A file that is gone, empty or
broken changes nothing, but that keys whose lines are taken out of a broken one are revoked.
"""

import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapter.store.clients import pseudonym
from server.api.quota import Quota

log = logging.getLogger("ratchet.tenants")

_PREFIX = "rk-"
_NAME = r"^[^/\p{C}\p{Zl}\p{Zp}]+$"
"""No `/`, which parts holder and user, and nothing that cannot be seen or ends a line."""
_DIGEST = re.compile(rb"[0-9a-f]{64}")


class KeysInvalid(ValueError):
    """The key file cannot be used; the message names the line."""


class KeyLine(BaseModel):
    """One line of the key file."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=64, pattern=_NAME)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    train: bool = True


@dataclass(slots=True)
class Tenant:
    """A key's holder, from its `line`. Without keys everybody is the one anonymous tenant."""

    line: KeyLine | None = None
    name: str = ""
    train: bool = True
    quota: Quota = field(default_factory=lambda: Quota(None, None))

    @property
    def holder(self) -> str | None:
        """The pseudonym that stands for all users of the key; None without keys."""
        return pseudonym(self.name) if self.name else None

    def client(self, user: str | None) -> str:
        """The name for influence limits and opt-outs: `NAME`, or `NAME/USER`."""
        return "/".join(part for part in (self.name, user) if part) or "anonymous"


class Tenants:
    """The keys of one server process; their file is checked for changes at most every
    `check_seconds`. Without a file, anyone may ask. Raises KeysInvalid."""

    def __init__(self, file: Path | None, check_seconds: float = 1.0) -> None:
        self._file, self._check_seconds = file, check_seconds
        self._known: dict[str, Tenant] = {}
        self._stamp: tuple[int, ...] | None = None
        self._complaint = ""
        self._checked = 0.0
        self._anyone = Tenant()
        if file is not None:
            try:
                self._read(file)
            except OSError as error:
                raise KeysInvalid(f"keys_file {file}: {error.strerror}") from None

    def admit(self, authorization: bytes | None) -> Tenant | None:
        """The tenant of an `Authorization` header, or None if no key is in it."""
        if self._file is None:
            return self._anyone
        self._refresh(self._file)
        scheme, _, key = (authorization or b"").partition(b" ")
        digest, found = hashlib.sha256(key.strip()).hexdigest(), None
        for known, tenant in self._known.items():  # all of them, so that the time reveals nothing
            if hmac.compare_digest(known, digest):
                found = tenant
        return found if scheme.lower() == b"bearer" else None

    def _refresh(self, file: Path) -> None:
        """Read the file again if it has changed."""
        now = time.monotonic()
        if now - self._checked < self._check_seconds:
            return
        self._checked = now
        complaint = ""
        try:
            if _stamp(file) != self._stamp:
                self._read(file)
        except KeysInvalid as error:
            complaint = f"{error}{self._revoked_in(file)}"
        except OSError as error:
            complaint = f"{file}: {error.strerror}"
        if complaint and complaint != self._complaint:
            log.error("keys stay as they were: %s", complaint)
        self._complaint = complaint

    def _revoked_in(self, file: Path) -> str:
        """Revoke the keys that a broken file has no more; says so. They are all kept if nothing in
        it looks like a key: it is not being edited, it is lost."""
        with suppress(OSError):
            if there := {digest.decode() for digest in _DIGEST.findall(file.read_bytes())}:
                gone = self._known.keys() - there
                for digest in gone:
                    del self._known[digest]
                return f"; {len(gone)} that are no longer in it are revoked" if gone else ""
        return ""

    def _read(self, file: Path) -> None:
        """Read the file; a tenant whose line is unchanged keeps what is left of its quota."""
        stamp, known, lines = _stamp(file), dict[str, Tenant](), read_keys(file)
        if self._known and not lines:
            raise KeysInvalid(f"{file} is empty; to revoke every key, leave a line for another")
        for line in lines:
            old = self._known.get(line.sha256)
            known[line.sha256] = old if old is not None and old.line == line else _tenant(line)
        self._known, self._stamp = known, stamp


def read_keys(file: Path) -> list[KeyLine]:
    """The lines of a key file. Raises KeysInvalid, OSError."""
    lines: list[KeyLine] = []
    for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
        if line.strip():
            try:
                lines.append(KeyLine.model_validate_json(line))
            except ValidationError as error:
                raise KeysInvalid(f"{file}:{number}: {_why(error)}") from None
    return lines


def add_key(file: Path, name: str, **limits: float | bool | None) -> str:
    """Make a key for `name`, append its hash to the file (mode 600) and return it. Others may
    append at the same time. Raises KeysInvalid, OSError."""
    key = _PREFIX + secrets.token_urlsafe(32)
    digest = hashlib.sha256(key.encode()).hexdigest()
    try:
        line = KeyLine.model_validate({"name": name, "sha256": digest, **limits})
    except ValidationError as error:
        raise KeysInvalid(_why(error)) from None
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "rb+", buffering=0) as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        read_keys(file)
        there = opened.read()
        begun = b"" if not there or there.endswith(b"\n") else b"\n"
        opened.write(begun + line.model_dump_json(exclude_defaults=True).encode() + b"\n")
        os.fsync(descriptor)
    return key


def _tenant(line: KeyLine) -> Tenant:
    quota = Quota(line.requests_per_minute, line.tokens_per_minute)
    return Tenant(line, line.name, line.train, quota)


def _why(error: ValidationError) -> str:
    """What is wrong with a line, without what is in it."""
    first = error.errors(include_input=False, include_url=False)[0]
    if first["loc"] == ("name",) and first["type"] == "string_pattern_mismatch":
        return "name must not be empty, nor have a / or what cannot be seen"
    return " ".join([".".join(map(str, first["loc"])), first["msg"]]).strip()


def _stamp(file: Path) -> tuple[int, ...]:
    """What changes whenever the file does, even to as many bytes within one tick of the clock."""
    status = file.stat()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
