"""The real trainer on a disk that is full: a candidate is whole, or its saving fails."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from adapter.settings import AdapterSettings
from adapter.store.adapter_folders import AdapterFolders, learner_folder
from adapter.trainer import TrainingGroup
from adapter.training.lora_trainer import LoraTrainer
from rewards.rollouts import Rollout, RolloutGroup, Sampling


@pytest.fixture(scope="module")
def trainer(tmp_path_factory) -> LoraTrainer:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=16,
    )  # fmt: skip
    model = tmp_path_factory.mktemp("model")
    Qwen2ForCausalLM(config).save_pretrained(str(model))
    made = LoraTrainer(AdapterSettings(model=str(model), lora_rank=2, threads=1))
    rollouts = [Rollout("", [row, 5, 6], [-2.0] * 3, "stop") for row in (3, 4)]
    group = RolloutGroup("g", "p", [1, 2], rollouts, 0, Sampling(), "c", 0.0)
    made.update([TrainingGroup(group, [1.0, -1.0])])
    return made


@contextmanager
def no_file_longer_than(length: int) -> Iterator[None]:
    """The kernel refuses every write past it (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_at_no_length_is_a_file_cut_off_unseen(trainer: LoraTrainer, tmp_path: Path) -> None:
    folders = AdapterFolders(tmp_path)
    name, digest = folders.commit(1, trainer.save)
    both = tmp_path / name, learner_folder(tmp_path / name)
    sizes = sorted(file.stat().st_size for folder in both for file in folder.iterdir())
    longest = sizes[-1]
    for length in sorted({*range(0, longest, 256), *(size - 1 for size in sizes)}):
        with no_file_longer_than(length), pytest.raises(OSError, match=r"(?i)file too large"):
            folders.commit(2, trainer.save)
        assert set(tmp_path.iterdir()) == set(both)
    with no_file_longer_than(longest):
        again, same = folders.commit(2, trainer.save)
    assert (again, same) == (f"v2-{digest[:12]}", digest)
