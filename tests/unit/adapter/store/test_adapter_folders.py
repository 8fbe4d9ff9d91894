import errno
from pathlib import Path

import pytest

from adapter.store.adapter_folders import WEIGHTS, AdapterFolders, ReleaseCorrupt
from adapter.store.releases import AdapterRelease


def release(name: str, digest: str) -> AdapterRelease:
    return AdapterRelease(1, 0, name, digest, ["g"], {}, 0.0)


def write(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"weights")
    (folder / "adapter_config.json").write_text("{}")


def test_commit_names_the_folder_by_version_and_content(tmp_path: Path) -> None:
    folders = AdapterFolders(tmp_path)
    name, digest = folders.commit(3, write)
    assert name == f"v3-{digest[:12]}"
    assert folders.verified(release(name, digest)) == tmp_path / name
    assert folders.commit(3, write) == (name, digest)


def test_a_failing_write_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise OSError(errno.ENOSPC, "no space left on device")

    folders = AdapterFolders(tmp_path)
    with pytest.raises(OSError, match="space"):
        folders.commit(1, fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "add"])
def test_damage_is_refused(tmp_path: Path, damage: str) -> None:
    folders = AdapterFolders(tmp_path)
    name, digest = folders.commit(1, write)
    weights = tmp_path / name / WEIGHTS
    if damage == "flip":
        weights.write_bytes(b"weightz")
    elif damage == "truncate":
        weights.write_bytes(b"weight")
    elif damage == "delete":
        weights.unlink()
    else:
        (tmp_path / name / "extra").write_text("x")
    with pytest.raises(ReleaseCorrupt):
        folders.verified(release(name, digest))


def test_prune_keeps_what_is_needed_and_removes_unfinished_folders(tmp_path: Path) -> None:
    folders = AdapterFolders(tmp_path)
    kept, _ = folders.commit(1, write)
    gone, _ = folders.commit(2, write)
    (tmp_path / ".tmp-v3").mkdir()
    assert folders.prune({kept}) == sorted([gone, ".tmp-v3"])
    assert [entry.name for entry in tmp_path.iterdir()] == [kept]


def test_folders_are_removed_by_name(tmp_path: Path) -> None:
    folders = AdapterFolders(tmp_path)
    names = [folders.commit(version, write)[0] for version in (1, 2)]
    folders.remove([names[0], "v9-gone"])
    assert [entry.name for entry in tmp_path.iterdir()] == [names[1]]
