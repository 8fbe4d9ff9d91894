"""The processes that make one update together, launched by Hugging Face Accelerate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed
from accelerate import PartialState
from accelerate.utils import (
    FullyShardedDataParallelPlugin,
    get_int_from_env,  # pyright: ignore[reportUnknownVariableType]
    parse_flag_from_env,  # pyright: ignore[reportUnknownVariableType]
)
from torch import Tensor
from torch.distributed.fsdp import CPUOffloadPolicy

from adapter.processor import has_bfloat16

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process is number `rank` of `count` and computes on `device` (None: any).

    `shard_base` spreads the base model's layers over all of them; with `reshard` a layer's weights
    are gathered again for its backward pass.
    """

    rank: int = 0
    count: int = 1
    device: torch.device | None = None
    shard_base: bool = False
    reshard: bool = True

    def share(self, items: Sequence[T], filler: T) -> list[tuple[T, float]]:
        """This rank's items, each with weight 1. Ranks of a sharded model must call its layers in
        step, so all get equally many: a short share ends in `filler`, weight 0."""
        rounds = math.ceil(len(items) / self.count)
        return [
            (items[index], 1.0) if index < len(items) else (filler, 0.0)
            for index in range(self.rank, rounds * self.count, self.count)
        ]

    def budget(self, limit: int, tokens: int) -> int:
        """Largest micro-batch, in tokens, of a batch of `tokens`: at most `limit`, and small enough
        that every rank gets one."""
        return limit if self.count == 1 else min(limit, math.ceil(tokens / self.count))

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all ranks. All have one dtype and device."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        sizes = [tensor.numel() for tensor in tensors]
        parts = cast("Sequence[Tensor]", flat.split(sizes))
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def greatest(self, tensor: Tensor) -> None:
        """Replace each number by the greatest of all ranks."""
        if self.count > 1:
            torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)


def device_for(choice: str) -> torch.device:
    """The device for the setting "cuda", "cpu" or "auto". Raises ValueError if there is none."""
    available = torch.cuda.is_available()
    if choice == "cuda" and not available:
        raise ValueError("device: cuda is wanted, but torch sees no GPU; set it to auto or cpu")
    return torch.device("cuda" if available and choice != "cpu" else "cpu")


def dtype_for(name: str, device: torch.device) -> torch.dtype:
    """Dtype of the base weights on a device, by the setting `dtype`: as the engine chooses, since
    parity cannot hold across precisions."""
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" or has_bfloat16() else "float32"
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def join(choice: str, patience: float) -> Ranks:
    """Join the processes that Accelerate launched, if there are several. Each waits up to
    `patience` seconds for the others. Raises ValueError for an unsupported device or sharding."""
    state: Any = PartialState(
        cpu=device_for(choice).type == "cpu", timeout=timedelta(seconds=patience)
    )
    if state.num_processes == 1:
        return Ranks()
    if not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return Ranks(state.process_index, state.num_processes, state.device)
    if get_int_from_env(["FSDP_VERSION"], 1) != 2:
        raise ValueError("Accelerate's FSDP: set fsdp_version to 2")
    plugin: Any = FullyShardedDataParallelPlugin()
    if isinstance(plugin.cpu_offload, CPUOffloadPolicy):
        raise ValueError("Accelerate's FSDP: set fsdp_offload_params to false")
    if plugin.cpu_ram_efficient_loading:
        # transformers would then leave the base model of all ranks but the first uninitialised.
        raise ValueError("Accelerate's FSDP: set fsdp_cpu_ram_efficient_loading to false")
    return Ranks(
        state.process_index,
        state.num_processes,
        state.device,
        shard_base=True,
        reshard=bool(plugin.reshard_after_forward),
    )
