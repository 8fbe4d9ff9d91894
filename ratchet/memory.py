"""The memory plan of a whole stack, from its settings: GPUs or host, Redis, disk."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapter.training.memory.cards import CardPlan, Wishes, plan_cards
from adapter.training.memory.plan import (
    CONTEXT,
    GIB,
    LEAST_TOKENS,
    DoesNotFit,
    EngineMemory,
    LearnerChoice,
    LearnerMemory,
    choose,
    gib,
)
from adapter.training.memory.shape import ModelShape
from ratchet.settings import StackSettings

_PYTHON = GIB
"""A process with torch, or with vLLM, before it has a model."""
_SERVER = GIB // 2


@dataclass(frozen=True, slots=True)
class Item:
    """`size` bytes on a `place`: "GPU", "host" or "disk"."""

    place: str
    what: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPlan:
    """What a stack needs, and the settings chosen for it."""

    items: tuple[Item, ...]
    chosen: Mapping[str, Any]
    notes: tuple[str, ...]

    def total(self, place: str) -> int:
        """Bytes on a place."""
        return sum(item.size for item in self.items if item.place == place)

    def lines(self) -> Iterator[str]:
        """A table for people."""
        for place in dict.fromkeys(item.place for item in self.items):
            for item in (item for item in self.items if item.place == place):
                yield f"{place:5} {item.what:50} {gib(item.size):>10}"
            yield f"{place:5} {'together':50} {gib(self.total(place)):>10}"
        yield from (f"set   {name}: {value}" for name, value in self.chosen.items())
        yield from (f"note  {note}" for note in self.notes)


def plan_stack(
    settings: StackSettings, config: Mapping[str, Any], *, card: int, cards: int, host: int | None
) -> StackPlan:
    """The plan on `cards` GPUs of `card` bytes, or with none on a host of `host` bytes (None:
    whatever it needs). Raises DoesNotFit, ShapeUnknown."""
    shape = ModelShape.of(config)
    if not cards:
        return _on_host(settings, shape, host)
    return _on_cards(settings, shape, card, cards, host)


def _on_cards(
    settings: StackSettings, shape: ModelShape, card: int, cards: int, host: int | None
) -> StackPlan:
    given = "gpu_memory_utilization" in settings.model_fields_set
    wishes = Wishes(
        rank=settings.lora_rank, slots=_slots(settings), longest=settings.max_model_len,
        tokens=settings.micro_batch_tokens, checkpointing=settings.gradient_checkpointing,
        utilization=settings.gpu_memory_utilization if given else 0.0,
    )  # fmt: skip
    plan = plan_cards(shape, wishes, card, cards)
    engine, learner = plan.engine, plan.learner
    items = [
        *_engine_items("GPU", engine, plan.kv_tokens * engine.kv_by_token),
        *_learner_items("GPU", learner, plan.choice),
        Item("GPU", "learner: CUDA context", CONTEXT),
        Item("host", "engine: process and adapters kept", _PYTHON + 2 * engine.adapters),
        Item("host", "learner: process, base weights while they load", _PYTHON + learner.width
            * shape.parameters * learner.shards),
        *_shared_items(settings, shape),
    ]  # fmt: skip
    chosen = {
        **_learner_settings(plan.choice),
        "gpu_memory_utilization": plan.utilization,
        "gpu_memory_share": plan.learner_share,
    }
    made = StackPlan(items=tuple(items), chosen=chosen, notes=tuple(_notes(plan)))
    _require(made, host)
    return made


def _notes(plan: CardPlan) -> Iterator[str]:
    yield f"the engine's cache holds {plan.kv_tokens} tokens"
    if plan.cards == 1:
        yield "engine and learner share the GPU"
        return
    split = plan.engine.shards
    yield f"engine on {split} GPU(s)" + (f": --tensor-parallel-size {split}" if split > 1 else "")
    if plan.learner.shards > 1:
        yield f"learner sharded over {plan.learner.shards} GPUs: deploy/accelerate/fsdp2.yaml"
    else:
        yield f"learner on a GPU of its own: CUDA_VISIBLE_DEVICES={split}"


def _on_host(settings: StackSettings, shape: ModelShape, host: int | None) -> StackPlan:
    engine = EngineMemory(shape=shape, rank=settings.lora_rank, width=4, slots=_slots(settings))
    learner = LearnerMemory(shape=shape, rank=settings.lora_rank, width=4)
    cache = settings.kv_cache_gib * GIB
    others = [
        Item("host", "engine: process", _PYTHON),
        *_engine_items("host", engine, cache, working=engine.working - CONTEXT - GIB),
        Item("host", "learner: process", _PYTHON),
        *_shared_items(settings, shape),
    ]
    taken = sum(item.size for item in others if item.place == "host")
    room = 1 << 60 if host is None else max(0, host - taken)
    try:
        choice = choose(
            learner, room, tokens=settings.micro_batch_tokens,
            checkpointing=settings.gradient_checkpointing,
            least=min(LEAST_TOKENS, settings.max_model_len),
        )  # fmt: skip
    except DoesNotFit as error:
        raise DoesNotFit(
            f"beside {gib(taken)} for engine, server and Redis (kv_cache_gib, buffer_max_bytes), "
            f"{error}, or more memory"
        ) from None
    items = (*others, *_learner_items("host", learner, choice))
    notes = (f"the engine's cache holds {cache // engine.kv_by_token} tokens",)
    return StackPlan(items=items, chosen=_learner_settings(choice), notes=notes)


def _engine_items(
    place: str, engine: EngineMemory, cache: int, working: int | None = None
) -> list[Item]:
    return [
        Item(place, "engine: weights", engine.weights),
        Item(place, "engine: adapters", engine.adapters),
        Item(place, "engine: working memory", engine.working if working is None else working),
        Item(place, "engine: KV cache", cache),
    ]


def _learner_items(place: str, learner: LearnerMemory, choice: LearnerChoice) -> list[Item]:
    tokens, way = choice.micro_batch_tokens, choice.checkpointing
    activations = learner.update(tokens, way) - learner.head(tokens)
    exact = learner.total(tokens, way)
    return [
        Item(place, "learner: weights", learner.weights),
        Item(place, "learner: LoRA, gradient, optimiser, undo", learner.adapter),
        Item(place, f"learner: activations of {tokens} tokens", activations),
        Item(place, "learner: blocks of logits", learner.head(tokens)),
        Item(place, "learner: margin of the plan", choice.need - exact),
    ]


def _shared_items(settings: StackSettings, shape: ModelShape) -> list[Item]:
    version = 3 * 4 * shape.adapter(settings.lora_rank)  # weights and two moments in fp32
    redis = settings.buffer_max_bytes * (2 if settings.keep_trained_seconds else 1)
    return [
        Item("host", "server", _SERVER),
        Item("host", "Redis at most: groups waiting and kept", redis),
        Item("disk", "base model", 2 * shape.parameters),
        Item("disk", "adapter folders", (settings.keep_versions + 3) * version),
        Item("disk", "Redis: append-only file, while it is rewritten", 2 * redis),
    ]


def _slots(settings: StackSettings) -> int:
    return settings.keep_loaded + 2


def _learner_settings(choice: LearnerChoice) -> dict[str, Any]:
    return {
        "micro_batch_tokens": choice.micro_batch_tokens,
        "gradient_checkpointing": "on" if choice.checkpointing else "off",
    }


def _require(plan: StackPlan, host: int | None) -> None:
    if host is not None and plan.total("host") > host:
        raise DoesNotFit(
            f"the host needs {gib(plan.total('host'))} and has {gib(host)}: lower "
            "buffer_max_bytes, set model to a smaller one, or use a host with more memory"
        )
