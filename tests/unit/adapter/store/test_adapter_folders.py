import errno
import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adapter.store.adapter_folders import (
    WEIGHTS,
    AdapterFolders,
    ReleaseCorrupt,
    fingerprint,
    learner_folder,
    learner_state,
)
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


def write_with_state(folder: Path) -> None:
    write(folder)
    learner_folder(folder).mkdir()
    (learner_folder(folder) / "moments").write_bytes(b"1.5")


def test_what_only_a_learner_needs_lies_beside_the_served_folder(tmp_path: Path) -> None:
    folders = AdapterFolders(tmp_path)
    name, digest = folders.commit(1, write_with_state)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [name, f"{name}.learner"]
    assert "moments" not in {file.name for file in (tmp_path / name).iterdir()}
    state = learner_state(tmp_path / name)
    assert state == tmp_path / f"{name}.learner"
    assert (state / "moments").read_bytes() == b"1.5"
    assert folders.commit(1, write_with_state) == (name, digest)


@pytest.mark.parametrize("damage", ["flip", "delete", "add", "gone"])
def test_damaged_learner_state_is_not_gone_on_from(tmp_path: Path, damage: str) -> None:
    """The served folder is whole all the same: the learner starts its optimiser anew."""
    folders = AdapterFolders(tmp_path)
    name, digest = folders.commit(1, write_with_state)
    state = learner_folder(tmp_path / name)
    if damage == "flip":
        (state / "moments").write_bytes(b"1.6")
    elif damage == "add":
        (state / "extra").touch()
    else:
        (state / "moments").unlink()
    if damage == "gone":
        state.rmdir()
    assert learner_state(tmp_path / name) is None
    assert folders.verified(release(name, digest)) == tmp_path / name


def test_the_hash_on_record_tells_a_version_s_learner_state_from_another_s(tmp_path: Path) -> None:
    def other(folder: Path) -> None:
        write_with_state(folder)
        (learner_folder(folder) / "moments").write_bytes(b"2.5")

    folders = AdapterFolders(tmp_path)
    names = [folders.commit(1, how)[0] for how in (write_with_state, other)]
    assert len(set(names)) == 2
    one, two = (learner_folder(tmp_path / name) for name in names)
    spare = tmp_path / "spare"
    one.rename(spare)
    two.rename(one)
    spare.rename(two)
    assert [learner_state(tmp_path / name) for name in names] == [None, None]


def test_it_is_kept_and_deleted_with_its_version(tmp_path: Path) -> None:
    folders = AdapterFolders(tmp_path)
    kept, pruned, removed = (folders.commit(version, write_with_state)[0] for version in (1, 2, 3))
    folders.remove([removed])
    (tmp_path / ".tmp-v4.learner").mkdir()
    (tmp_path / "v5-abandoned.learner").mkdir()
    folders.prune({kept})
    assert pruned != kept
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [kept, f"{kept}.learner"]


def test_a_failing_write_leaves_no_learner_state(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write_with_state(folder)
        raise OSError(errno.ENOSPC, "no space left on device")

    with pytest.raises(OSError, match="space"):
        AdapterFolders(tmp_path).commit(1, fail)
    assert list(tmp_path.iterdir()) == []


def test_an_older_version_has_its_learner_state_among_the_served_files(tmp_path: Path) -> None:
    name, _ = AdapterFolders(tmp_path).commit(1, write)
    assert learner_state(tmp_path / name) == tmp_path / name


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


_READ_AS_ANOTHER = """
import os, sys
from pathlib import Path
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(sum(len(file.read_bytes()) > 0 for file in Path(sys.argv[1]).iterdir()))
"""


@pytest.mark.usefixtures("narrow_umask")
def test_another_user_reads_what_was_published() -> None:
    """vLLM's own image runs as another user than the learner, and safetensors writes mode 0600."""

    def from_safetensors(folder: Path) -> None:
        write_with_state(folder)
        save_file({"a": torch.zeros(2)}, str(folder / WEIGHTS))
        (folder / WEIGHTS).chmod(0o600)

    with tempfile.TemporaryDirectory() as place:  # tmp_path is the test user's alone
        Path(place).chmod(0o755)
        name, _ = AdapterFolders(Path(place)).commit(1, from_safetensors)
        folder = Path(place) / name
        modes = {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
        assert (stat.S_IMODE(folder.stat().st_mode), modes) == (0o755, {0o644})
        done = subprocess.run(
            [sys.executable, "-c", _READ_AS_ANOTHER, str(folder)], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


def test_a_hash_needs_no_more_memory_for_a_larger_file(tmp_path: Path) -> None:
    with (tmp_path / WEIGHTS).open("wb") as weights:
        weights.truncate(64 << 20)
    tracemalloc.start()
    try:
        fingerprint(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_hashes_of_before_hold(tmp_path: Path) -> None:
    """sha256 of name, zero, size, zero, content, in order of name: what is on record stays."""
    write(tmp_path)
    told = b"adapter_config.json\x002\x00{}" + b"adapter_model.safetensors\x007\x00weights"
    assert fingerprint(tmp_path) == hashlib.sha256(told).hexdigest()
