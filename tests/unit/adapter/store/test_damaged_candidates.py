"""A folder with all that a candidate has, damaged in every way: it is never taken for whole."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapter.learner.model_card import write_card
from adapter.settings import AdapterSettings
from adapter.store.adapter_folders import AdapterFolders, ReleaseCorrupt
from adapter.store.releases import AdapterRelease
from adapter.trainer import TrainingGroup
from adapter.training.lora_trainer import LoraTrainer
from rewards.rollouts import Rollout, RolloutGroup, Sampling

STEP = 64
FILES = {
    "README.md", "adapter_config.json", "adapter_model.safetensors", "learner.sha256",
    "manifest.json", "probe.json",
}  # fmt: skip


class Candidate:
    """A published release and its folder, which `damaged` tells from a whole one."""

    def __init__(self, folders: AdapterFolders, release: AdapterRelease) -> None:
        self.folders, self.release = folders, release
        self.folder = folders.root / release.folder

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    @property
    def damaged(self) -> bool:
        try:
            self.folders.verified(self.release)
        except ReleaseCorrupt:
            return True
        return False


@pytest.fixture(scope="module")
def candidate(tmp_path_factory) -> Candidate:
    """What the trainer that ships makes of one update."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("candidates")
    config = Qwen2Config(
        vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=16,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(str(root / "model"))
    settings = AdapterSettings(model=str(root / "model"), lora_rank=1, lora_alpha=1, threads=1)
    trainer = LoraTrainer(settings)
    rollouts = [Rollout("", [token, 3], [-2.0, -2.0], "stop") for token in (4, 5)]
    group = RolloutGroup("g", "p", [1, 2], rollouts, 0, Sampling(), "c", 0.0)
    trainer.update([TrainingGroup(group, [1.0, -1.0])])
    draft = AdapterRelease(1, 0, "", "", ["g"], {}, 0.0)

    def write(folder: Path) -> None:
        trainer.save(folder)
        write_card(folder, draft, {})

    folders = AdapterFolders(root / "adapters")
    name, digest = folders.commit(1, write)
    return Candidate(folders, replace(draft, folder=name, sha256=digest))


def test_it_is_whole(candidate: Candidate) -> None:
    assert {file.name for file in candidate.files} == FILES
    assert not candidate.damaged


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_flipped_byte_at_every_64th_place(candidate: Candidate, name: str) -> None:
    file = candidate.folder / name
    whole = file.read_bytes()
    places = [*range(0, len(whole), STEP), len(whole) - 1]
    with file.open("r+b", buffering=0) as opened:
        for at in places:
            os.pwrite(opened.fileno(), bytes([whole[at] ^ 0x01]), at)
            assert candidate.damaged, at
            os.pwrite(opened.fileno(), whole[at : at + 1], at)
    assert not candidate.damaged


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_64th_length(candidate: Candidate, name: str) -> None:
    file = candidate.folder / name
    whole = file.read_bytes()
    for length in [*range(0, len(whole), STEP), len(whole) - 1]:
        file.write_bytes(whole[:length])
        assert candidate.damaged, length
    file.write_bytes(whole + b"\0")
    assert candidate.damaged
    file.write_bytes(whole)
    assert not candidate.damaged


def remove(file: Path) -> Callable[[], object]:
    data = file.read_bytes()
    file.unlink()
    return lambda: file.write_bytes(data)


def rename(file: Path) -> Callable[[], object]:
    other = file.rename(file.with_name(file.name + "x"))
    return lambda: other.rename(file)


def move_below(file: Path) -> Callable[[], object]:
    below = file.parent / "below"
    below.mkdir()
    other = file.rename(below / file.name)
    return lambda: (other.rename(file), below.rmdir())


def link(file: Path) -> Callable[[], object]:
    """The very same bytes, but elsewhere."""
    other = file.rename(file.parent.parent / file.name)
    file.symlink_to(other)
    return lambda: other.rename(file)


def become_a_folder(file: Path) -> Callable[[], object]:
    data = file.read_bytes()
    file.unlink()
    file.mkdir()
    return lambda: (file.rmdir(), file.write_bytes(data))


def become_a_pipe(file: Path) -> Callable[[], object]:
    data = file.read_bytes()
    file.unlink()
    os.mkfifo(file)
    return lambda: (file.unlink(), file.write_bytes(data))


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize(
    "damage", [remove, rename, move_below, link, become_a_folder, become_a_pipe]
)
def test_a_file_that_is_not_there_as_it_was(
    candidate: Candidate, name: str, damage: Callable[[Path], Callable[[], object]]
) -> None:
    undo = damage(candidate.folder / name)
    assert candidate.damaged
    undo()
    assert not candidate.damaged


@pytest.mark.parametrize("name", [b"extra", b".hidden", b"\xff\xfe", b"below/extra"])
def test_an_added_file(candidate: Candidate, name: bytes) -> None:
    added = Path(os.fsdecode(os.fsencode(candidate.folder) + b"/" + name))
    added.parent.mkdir(exist_ok=True)
    added.write_bytes(b"")
    assert candidate.damaged
    added.unlink()
    if added.parent != candidate.folder:
        added.parent.rmdir()
    assert not candidate.damaged


def test_an_added_link_to_a_folder(candidate: Candidate, tmp_path: Path) -> None:
    (candidate.folder / "link").symlink_to(tmp_path)
    assert candidate.damaged
    (candidate.folder / "link").unlink()


def test_two_files_that_change_places(candidate: Candidate) -> None:
    one, other = (candidate.folder / name for name in ("probe.json", "manifest.json"))
    texts = one.read_bytes(), other.read_bytes()
    one.write_bytes(texts[1])
    other.write_bytes(texts[0])
    assert candidate.damaged
    one.write_bytes(texts[0])
    other.write_bytes(texts[1])


def test_the_folder_is_gone_or_a_link(candidate: Candidate) -> None:
    away = candidate.folder.rename(candidate.folder.with_name("away"))
    assert candidate.damaged
    candidate.folder.symlink_to(away)
    assert candidate.damaged
    candidate.folder.unlink()
    away.rename(candidate.folder)
    assert not candidate.damaged
