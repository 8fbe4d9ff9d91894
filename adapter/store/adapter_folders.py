"""Adapter folders on disk: one a version, complete or absent, checked by hash.

A version is two folders side by side. `vN-sha12` is served and hashed on record. What only a
learner needs to go on from it is in `vN-sha12.learner`, whose hash the served folder holds.
"""

import errno
import hashlib
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from adapter.store.ledger import KEY_FILE
from adapter.store.releases import AdapterRelease

log = logging.getLogger("ratchet.adapters")

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_TEMPORARY = ".tmp-"
_LEARNER = ".learner"
SEAL = "learner.sha256"
_CHUNK = 1 << 20
_NAME = re.compile(r"v[0-9]+-[0-9a-z]+")
_FOLDER_MODE, _FILE_MODE = 0o755, 0o644


class ReleaseCorrupt(Exception):
    """An adapter folder is missing, incomplete, or not what the ledger says it is."""


class AdapterFolders:
    """The folders under `root`, named `vN-sha12`; nothing that a client sends becomes a name, and
    no name on record is used before it is checked: Redis may have another writer."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def commit(self, version: int, write: Callable[[Path], None]) -> tuple[str, str]:
        """Let `write` fill a folder, and the one that `learner_folder` names beside it, and put
        both in place durably. Returns (name, sha256).

        tmp, fsync, rename, fsync the parent: a crash leaves the old state or the new one. Every
        user can read them, whatever umask and library made of the files: the engine may run as
        another one, and safetensors writes for its own user alone.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        temporary = self.root / f"{_TEMPORARY}v{version}"
        private = learner_folder(temporary)
        _remove(temporary)
        try:
            temporary.mkdir()
            write(temporary)
            if private.is_dir():
                (temporary / SEAL).write_text(_digest(private))
                _settle(private)
            digest = fingerprint(temporary)
            _settle(temporary)
            name = f"v{version}-{digest[:12]}"
            final = self.root / name
            _remove(final)
            if private.is_dir():  # first, so that a served folder never waits for it
                private.rename(learner_folder(final))
            temporary.rename(final)
        except BaseException:
            _remove(temporary)
            raise
        _fsync(self.root)
        return name, digest

    def path(self, release: AdapterRelease) -> Path:
        """Where the release's folder is, or was. Raises ReleaseCorrupt if the name on record is
        none of ours: it may lead anywhere."""
        if not _NAME.fullmatch(release.folder):
            raise ReleaseCorrupt(
                f"v{release.version}: the folder on record is {release.folder!r}, which is no name "
                "of ours: who else can write to Redis?"
            )
        return self.root / release.folder

    def verified(self, release: AdapterRelease) -> Path:
        """The release's folder. Raises ReleaseCorrupt if it has a fault."""
        if fault := self.fault(release):
            raise ReleaseCorrupt(fault)
        return self.path(release)

    def fault(self, release: AdapterRelease) -> str | None:
        """What is wrong with a release's folder, whose content is hashed, or None."""
        try:
            self.path(release)
        except ReleaseCorrupt as error:
            return str(error)
        try:
            digest = fingerprint(self.root / release.folder)
        except OSError as error:
            return f"{release.folder}: {error.strerror}"
        if digest == release.sha256:
            return None
        return f"{release.folder}: content is {digest[:12]}…, not as published"

    def prune(self, keep: Collection[str]) -> list[str]:
        """Delete all folders but those named and their learner's, unfinished ones too. Returns
        their names."""
        if not self.root.is_dir():
            return []
        kept = {KEY_FILE, *keep, *(name + _LEARNER for name in keep)}
        gone = [entry.name for entry in self.root.iterdir() if entry.name not in kept]
        for name in gone:
            _remove(self.root / name)
        return sorted(gone)

    def remove(self, names: Collection[str]) -> None:
        """Delete these folders, and the learner's beside them, if they exist. Raises ReleaseCorrupt
        before anything is deleted if one of them is no name of ours."""
        if foreign := [name for name in names if not _NAME.fullmatch(name)]:
            raise ReleaseCorrupt(f"{foreign[0]!r} is no name of ours: nothing is deleted")
        for name in names:
            _remove(self.root / name)


def fingerprint(folder: Path) -> str:
    """sha256 over names, sizes and bytes of all files in the folder, in order of name.

    Raises OSError, for a link too: its target may change unseen.
    """
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink():
            raise OSError(errno.ELOOP, f"{path.name} is a link")
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(2, f"no {WEIGHTS}", str(folder))
    return _digest(folder)


def learner_folder(folder: Path) -> Path:
    """Where a learner keeps what it alone needs to go on from the adapter in `folder`."""
    return folder.with_name(folder.name + _LEARNER)


def learner_state(folder: Path) -> Path | None:
    """The folder with what a learner needs to go on from the adapter in `folder`, hashed, or None
    if it is missing or damaged. Versions of before have it in `folder` itself."""
    seal, private = folder / SEAL, learner_folder(folder)
    if not seal.is_file():
        return private if private.is_dir() else folder
    try:
        whole = _digest(private) == seal.read_text()
    except OSError as error:
        log.warning("%s: %s", private.name, error.strerror)
        return None
    if not whole:
        log.warning("%s: its content is not as published", private.name)
    return private if whole else None


def _digest(folder: Path) -> str:
    """sha256 over names, sizes and bytes of all files, read piece by piece. Raises OSError."""
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(folder))
    digest, buffer = hashlib.sha256(), bytearray(_CHUNK)
    for file in _files(folder):
        with file.open("rb", buffering=0) as opened:
            size = os.fstat(opened.fileno()).st_size
            digest.update(os.fsencode(file.relative_to(folder)) + b"\0%d\0" % size)
            while count := opened.readinto(buffer):
                digest.update(memoryview(buffer)[:count])
    return digest.hexdigest()


def _settle(folder: Path) -> None:
    """Give a folder and its files their permissions, and write them to disk for good."""
    for path in [*_files(folder), folder]:
        wanted = _FILE_MODE if path.is_file() else _FOLDER_MODE
        if stat.S_IMODE(path.stat().st_mode) != wanted:
            path.chmod(wanted)
        _fsync(path)


def _remove(folder: Path) -> None:
    for one in (folder, learner_folder(folder)):
        shutil.rmtree(one, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
