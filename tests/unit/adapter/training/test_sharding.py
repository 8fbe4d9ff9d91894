"""What FSDP2 takes hold of, in a process group of one; two processes are an integration test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from adapter.settings import AdapterSettings
from adapter.trainer import TrainingGroup
from adapter.training.lora_trainer import LoraTrainer
from adapter.training.ranks import Ranks
from adapter.training.sharding import is_sharded
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from tests.architectures import ARCHITECTURES, build

ALONE = Ranks(0, 1, torch.device("cpu"), shard_base=True)


@pytest.fixture(autouse=True)
def group_of_one() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_layers_frozen_weights_are_sharded_and_an_update_is_the_same(
    name: str, checkpointing: bool, tmp_path: Path
) -> None:
    settings = AdapterSettings(
        model=str(build(name, tmp_path)), learning_rate=1e-2, lora_rank=4, threads=1,
        gradient_checkpointing=checkpointing,
    )  # fmt: skip
    plain, sharded = LoraTrainer(settings), LoraTrainer(settings, ALONE)
    assert [is_sharded(trainer.model) for trainer in (plain, sharded)] == [False, True]
    for parameter_name, parameter in sharded.model.named_parameters():
        of_layer = ".layers." in parameter_name and "lora_" not in parameter_name
        assert isinstance(parameter, DTensor) == of_layer, parameter_name

    rollouts = [Rollout("", ids, [-5.0] * len(ids), "stop") for ids in ([5, 6, 7], [8], [9, 1])]
    group = RolloutGroup("g", "", [1, 2, 3, 4], rollouts, 0, Sampling(), "c", 0.0)
    metrics = [t.update([TrainingGroup(group, [1.0, -1.0, 0.5])]) for t in (plain, sharded)]
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-5, abs=1e-6)
    pairs = zip(plain.optimiser.parameters, sharded.optimiser.parameters, strict=True)
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
