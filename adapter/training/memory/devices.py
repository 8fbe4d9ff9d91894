"""The memory plan of the trainer in this process, on the device that it has."""

import logging
from typing import Any, cast

import torch
from transformers import AutoConfig

from adapter.settings import AdapterSettings
from adapter.training.memory.host import Room, host_memory
from adapter.training.memory.plan import (
    CONTEXT,
    MOST_TOKENS,
    DoesNotFit,
    LearnerChoice,
    LearnerMemory,
    choices,
    choose,
    gib,
)
from adapter.training.memory.shape import ModelShape, ShapeUnknown
from adapter.training.ranks import Ranks

log = logging.getLogger("ratchet.learner")


def planned(
    settings: AdapterSettings, ranks: Ranks, device: torch.device, width: int
) -> AdapterSettings:
    """The settings with `micro_batch_tokens` and `gradient_checkpointing` chosen where they were
    left open, for base weights of `width` bytes each. Raises DoesNotFit; OSError and ValueError as
    transformers does for a model that cannot be found."""
    config = cast("Any", AutoConfig.from_pretrained(settings.model))
    try:
        shape = ModelShape.of(cast("dict[str, Any]", config.to_dict()))
    except ShapeUnknown as error:
        log.warning("memory is not planned: config.json: %s", error)
        needed = "on" if device.type == "cuda" else "off"
        choice = LearnerChoice(settings.micro_batch_tokens or MOST_TOKENS, needed == "on", 0)
    else:
        shards = ranks.count if ranks.shard_base else 1
        memory = LearnerMemory(shape=shape, rank=settings.lora_rank, width=width, shards=shards)
        choice = _choice(settings, memory, _room(device, settings.gpu_memory_share))
    given = settings.gradient_checkpointing
    chosen = ("on" if choice.checkpointing else "off") if given == "auto" else given
    return settings.model_copy(
        update={
            "micro_batch_tokens": settings.micro_batch_tokens or choice.micro_batch_tokens,
            "gradient_checkpointing": chosen,
        }
    )


def cap_memory(device: torch.device, share: float) -> None:
    """Keep torch within its share of a GPU, so that an engine can restart beside it."""
    if device.type == "cuda":
        total = _bytes_of(device)
        torch.cuda.set_per_process_memory_fraction(share - CONTEXT / total, device)


def _choice(settings: AdapterSettings, memory: LearnerMemory, room: Room) -> LearnerChoice:
    tokens, checkpointing = settings.micro_batch_tokens, settings.gradient_checkpointing
    try:
        choice = choose(memory, room.free, tokens=tokens, checkpointing=checkpointing)
    except DoesNotFit:
        # What others hold now may be free by the time it is needed; more than all there is, never.
        choose(memory, room.total, tokens=tokens, checkpointing=checkpointing)
        open_ways = choices(memory, tokens=tokens, checkpointing=checkpointing)
        choice = min(open_ways, key=lambda way: way.need)
        log.warning("%s are free, and the learner may need %s", gib(room.free), gib(choice.need))
    log.info(
        "memory plan: micro-batches of %d tokens, checkpointing %s: %s of %s",
        choice.micro_batch_tokens, "on" if choice.checkpointing else "off", gib(choice.need),
        gib(room.free),
    )  # fmt: skip
    return choice


def _room(device: torch.device, share: float) -> Room:
    if device.type != "cuda":
        host = host_memory()
        # glibc keeps freed blocks for later: a peak of twice what is alive was measured.
        return Room(host.free // 2, host.total)
    total = _bytes_of(device)
    usable = int(share * total) - CONTEXT
    return Room(usable, usable)


def _bytes_of(gpu: torch.device) -> int:
    return cast("int", torch.cuda.get_device_properties(gpu).total_memory)
