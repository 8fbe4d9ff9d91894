"""Who may ask, and how much: API keys, hashed at rest, with quotas.

A key file has a JSON object a line: `name`, `sha256` of the key in hexadecimal, and as many limits
as wanted. It is read again when it changes. `ratchet keys add NAME` makes such a line.
"""

import hashlib
import hmac
import logging
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

log = logging.getLogger("ratchet.tenants")

_LOOK_SECONDS = 1.0
_PREFIX = "rk-"


class KeysInvalid(ValueError):
    """The key file cannot be used; the message names the line."""


class KeyLine(BaseModel):
    """One line of the key file."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    train: bool = True


@dataclass(slots=True)
class Bucket:
    """A minute's worth of something, refilled steadily."""

    per_minute: float
    level: float = field(init=False)
    at: float = field(init=False)

    def __post_init__(self) -> None:
        self.level, self.at = self._most, time.monotonic()

    @property
    def _most(self) -> float:
        return max(1.0, self.per_minute)

    def wait(self) -> float:
        """Seconds until there is one in it: 0 if there is."""
        now = time.monotonic()
        self.level = min(self._most, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now
        return max(0.0, (1.0 - self.level) * 60 / self.per_minute)

    def take(self, amount: float) -> None:
        """Use some; it may go below zero, and has to fill up again before more is given."""
        self.level -= amount


@dataclass(slots=True)
class Tenant:
    """Whoever holds a key. Without keys everybody is the one anonymous tenant."""

    name: str = ""
    train: bool = True
    requests: Bucket | None = None
    tokens: Bucket | None = None

    def wait(self) -> float:
        """Seconds until the quota allows another request: 0 if it does."""
        return max((b.wait() for b in (self.requests, self.tokens) if b is not None), default=0.0)

    def asked(self) -> None:
        """One more request."""
        if self.requests is not None:
            self.requests.take(1)

    def used(self, tokens: int) -> None:
        """So many tokens were worked on."""
        if self.tokens is not None:
            self.tokens.take(tokens)

    def client(self, user: str | None) -> str:
        """The name that influence limits and opt-outs go by."""
        return "/".join(part for part in (self.name, user) if part) or "anonymous"


class Tenants:
    """The keys of one server process. Without a file, everybody may ask. Raises KeysInvalid."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[bytes, Tenant] = {}
        self._lines: dict[str, KeyLine] = {}
        self._stamp: tuple[int, int] | None = None
        self._looked = 0.0
        self._anyone = Tenant()
        if file is not None:
            try:
                self._read(file)
            except OSError as error:
                raise KeysInvalid(f"keys_file {file}: {error.strerror}") from None

    def admit(self, authorization: bytes | None) -> Tenant | None:
        """The tenant of an `Authorization` header, or None if it is nobody's."""
        if self._file is None:
            return self._anyone
        self._look(self._file)
        scheme, _, key = (authorization or b"").partition(b" ")
        digest = hashlib.sha256(key.strip()).digest()
        found = None
        for known, tenant in self._known.items():  # all of them: the time tells nothing
            if hmac.compare_digest(known, digest):
                found = tenant
        return found if scheme.lower() == b"bearer" else None

    def _look(self, file: Path) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        try:
            if _stamp(file) != self._stamp:
                self._read(file)
        except (KeysInvalid, OSError) as error:
            log.error("keys stay as they were: %s", error)

    def _read(self, file: Path) -> None:
        stamp = _stamp(file)
        lines = {line.sha256: line for line in read_keys(file)}
        known: dict[bytes, Tenant] = {}
        for digest, line in lines.items():
            old = self._known.get(bytes.fromhex(digest))
            unchanged = old is not None and self._lines.get(digest) == line
            known[bytes.fromhex(digest)] = old if old and unchanged else _tenant(line)
        self._known, self._lines, self._stamp = known, lines, stamp


def read_keys(file: Path) -> list[KeyLine]:
    """The lines of a key file. Raises KeysInvalid, OSError."""
    lines: list[KeyLine] = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if line.strip():
            try:
                lines.append(KeyLine.model_validate_json(line))
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                where = ".".join(map(str, first["loc"]))
                raise KeysInvalid(f"{file}:{number}: {where} {first['msg']}") from None
    return lines


def add_key(file: Path, name: str, **limits: float | bool) -> str:
    """Make a key for `name`, append it to the file (mode 600) and return it: it is kept nowhere.

    Raises KeysInvalid, OSError.
    """
    key = _PREFIX + secrets.token_urlsafe(32)
    digest = hashlib.sha256(key.encode()).hexdigest()
    try:
        line = KeyLine.model_validate({"name": name, "sha256": digest, **limits})
    except ValidationError as error:
        raise KeysInvalid(error.errors(include_input=False, include_url=False)[0]["msg"]) from None
    if file.exists():
        read_keys(file)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a") as opened:
        opened.write(line.model_dump_json(exclude_defaults=True) + "\n")
    return key


def _tenant(line: KeyLine) -> Tenant:
    per_minute = (line.requests_per_minute, line.tokens_per_minute)
    requests, tokens = (None if limit is None else Bucket(limit) for limit in per_minute)
    return Tenant(line.name, line.train, requests, tokens)


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size
