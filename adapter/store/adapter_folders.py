"""Adapter folders on disk: one a version, complete or absent, checked by hash."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from adapter.store.releases import AdapterRelease

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_TEMPORARY = ".tmp-"


class ReleaseCorrupt(Exception):
    """An adapter folder is missing, incomplete, or not what the ledger says it is."""


class AdapterFolders:
    """The folders under `root`, named `vN-sha12`; nothing that a client sends becomes a name."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def commit(self, version: int, write: Callable[[Path], None]) -> tuple[str, str]:
        """Let `write` fill a folder and put it in place durably. Returns (name, sha256).

        tmp, fsync, rename, fsync the parent: a crash leaves the old state or the new one.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        temporary = self.root / f"{_TEMPORARY}v{version}"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            write(temporary)
            digest = fingerprint(temporary)
            for file in [*_files(temporary), temporary]:
                _fsync(file)
            name = f"v{version}-{digest[:12]}"
            final = self.root / name
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _fsync(self.root)
        return name, digest

    def verified(self, release: AdapterRelease) -> Path:
        """The release's folder. Raises ReleaseCorrupt if it has a fault."""
        if fault := self.fault(release):
            raise ReleaseCorrupt(fault)
        return self.root / release.folder

    def fault(self, release: AdapterRelease) -> str | None:
        """What is wrong with a release's folder, whose content is hashed, or None."""
        try:
            digest = fingerprint(self.root / release.folder)
        except OSError as error:
            return f"{release.folder}: {error.strerror}"
        if digest == release.sha256:
            return None
        return f"{release.folder}: content is {digest[:12]}…, not as published"

    def prune(self, keep: Collection[str]) -> list[str]:
        """Delete all folders but those named, unfinished ones too. Returns their names."""
        if not self.root.is_dir():
            return []
        gone = [entry.name for entry in self.root.iterdir() if entry.name not in keep]
        self.remove(gone)
        return sorted(gone)

    def remove(self, names: Collection[str]) -> None:
        """Delete these folders if they exist."""
        for name in names:
            shutil.rmtree(self.root / name, ignore_errors=True)


def fingerprint(folder: Path) -> str:
    """sha256 over names, sizes and bytes of all files in the folder, in order of name.

    Raises OSError, for a link too: its target may change unseen.
    """
    for path in [folder, *folder.rglob("*")]:
        if path.is_symlink():
            raise OSError(errno.ELOOP, f"{path.name} is a link")
    digest = hashlib.sha256()
    for file in _files(folder):
        data = file.read_bytes()
        digest.update(os.fsencode(file.relative_to(folder)) + b"\0%d\0" % len(data))
        digest.update(data)
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(2, f"no {WEIGHTS}", str(folder))
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
