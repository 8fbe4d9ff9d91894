"""FSDP2 for base models that one device cannot hold."""

from typing import Any

from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from adapter.training.ranks import Ranks


def shard_base(model: Any, ranks: Ranks) -> None:
    """Spread the frozen weights of the decoder's layers over the ranks, layer by layer, and move
    the rest to this rank's device.

    `model` is a transformers causal language model with its adapter, on the CPU. The adapter,
    embeddings, last norm and output head stay whole on every rank, for the optimiser, saving and
    `adapter.training.token_scores`.
    """
    assert ranks.device is not None
    decoder = model.get_decoder()
    layers = set(decoder.layers.parameters())
    whole = {p for p in model.parameters() if p.requires_grad or p not in layers}
    mesh = init_device_mesh(ranks.device.type, (ranks.count,))
    for part in (*decoder.layers, decoder):
        fully_shard(part, mesh=mesh, reshard_after_forward=ranks.reshard, ignored_params=whole)
    model.to(ranks.device)


def is_sharded(model: Any) -> bool:
    """Whether `shard_base` was called on this model."""
    return isinstance(model.get_decoder(), FSDPModule)
