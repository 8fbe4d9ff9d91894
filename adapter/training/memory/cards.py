"""How engine and learner share the GPUs of one machine. No torch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from adapter.training.memory.plan import (
    CONTEXT,
    GIB,
    LEAST_TOKENS,
    DoesNotFit,
    EngineMemory,
    LearnerChoice,
    LearnerMemory,
    choices,
    gib,
)
from adapter.training.memory.shape import ModelShape

RESERVE = 0.05
"""Share of a card that neither may take: an engine starts only where its share is free."""
_ALONE = 0.9
_SEQUENCES = 8
"""Sequences of full length that the engine's cache must hold, or it is of no use."""
_SIZES = (16, 24, 32, 40, 48, 80, 96, 141, 180)
_SHARDS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the plan is asked for. `tokens` 0, `checkpointing` "auto" and `utilization` 0 leave the
    choice to it; `longest` is the engine's max_model_len, `slots` its places for adapters."""

    rank: int
    slots: int
    longest: int
    tokens: int = 0
    checkpointing: str = "auto"
    utilization: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPlan:
    """Engine and learner on `cards` GPUs of `card` bytes: on one together, else each on its own."""

    card: int
    cards: int
    engine: EngineMemory
    learner: LearnerMemory
    choice: LearnerChoice
    utilization: float
    learner_share: float

    @property
    def kv_tokens(self) -> int:
        """Tokens whose keys and values the engine has room for."""
        left = int(self.utilization * self.card) - self.engine.total(0)
        return max(0, left // self.engine.kv_by_token)


def plan_cards(shape: ModelShape, wishes: Wishes, card: int, cards: int = 1) -> CardPlan:
    """The best plan. Raises DoesNotFit: what is needed, and what would do."""
    plan = next(_plans(shape, wishes, card, cards), None)
    if plan is not None:
        return plan
    learner = LearnerMemory(shape=shape, rank=wishes.rank, width=2)
    engine = _engine(shape, wishes, 1)
    least = min(_choices(learner, wishes), key=lambda choice: choice.need)
    where = "one GPU" if cards == 1 else f"{cards} GPUs"
    raise DoesNotFit(
        f"does not fit on {where} of {gib(card)}: the engine needs at least "
        f"{gib(engine.total(_SEQUENCES * wishes.longest))} ({gib(engine.weights)} of weights), the "
        f"learner {gib(least.need + CONTEXT)}. What would do: "
        + "; ".join(_remedies(shape, wishes, card, cards))
    )


def _plans(shape: ModelShape, wishes: Wishes, card: int, cards: int) -> Iterator[CardPlan]:
    if cards == 1:
        yield from _together(shape, wishes, card)
        return
    utilization = wishes.utilization or _ALONE
    for split in (split for split in _SHARDS if split < cards and shape.heads % split == 0):
        engine = _engine(shape, wishes, split)
        if engine.total(_SEQUENCES * wishes.longest) > utilization * card:
            continue
        for shards in dict.fromkeys((1, cards - split)):
            learner = LearnerMemory(shape=shape, rank=wishes.rank, width=2, shards=shards)
            for choice in _choices(learner, wishes):
                if choice.need + CONTEXT <= (1 - RESERVE) * card:
                    yield CardPlan(
                        card=card, cards=cards, engine=engine, learner=learner, choice=choice,
                        utilization=utilization, learner_share=1 - RESERVE,
                    )  # fmt: skip


def _together(shape: ModelShape, wishes: Wishes, card: int) -> Iterator[CardPlan]:
    engine = _engine(shape, wishes, 1)
    learner = LearnerMemory(shape=shape, rank=wishes.rank, width=2)
    for choice in _choices(learner, wishes):
        share = (choice.need + CONTEXT) / card
        utilization = wishes.utilization or int(100 * (1 - RESERVE - share)) / 100
        enough = engine.total(_SEQUENCES * wishes.longest) <= utilization * card
        if enough and share <= 1 - RESERVE - utilization:
            yield CardPlan(
                card=card, cards=1, engine=engine, learner=learner, choice=choice,
                utilization=utilization, learner_share=round(1 - RESERVE - utilization, 2),
            )  # fmt: skip


def _engine(shape: ModelShape, wishes: Wishes, shards: int) -> EngineMemory:
    return EngineMemory(shape=shape, rank=wishes.rank, width=2, slots=wishes.slots, shards=shards)


def _choices(learner: LearnerMemory, wishes: Wishes) -> Iterator[LearnerChoice]:
    return choices(
        learner, tokens=wishes.tokens, checkpointing=wishes.checkpointing,
        least=max(LEAST_TOKENS, wishes.longest),
    )  # fmt: skip


def _remedies(shape: ModelShape, wishes: Wishes, card: int, cards: int) -> Iterator[str]:
    """Changes that make it fit, one at a time; never nothing."""

    def fits(shape: ModelShape, wishes: Wishes, card: int, cards: int) -> bool:
        return next(_plans(shape, wishes, card, cards), None) is not None

    if fits(shape, replace(wishes, checkpointing="auto"), card, cards):
        yield "gradient_checkpointing auto"
    if fits(shape, replace(wishes, tokens=0), card, cards):
        yield "micro_batch_tokens 0, which lets the plan choose"
    if fits(shape, replace(wishes, utilization=0.0), card, cards):
        yield "gpu_memory_utilization left to the plan"
    for more in (count for count in (2, 4, 8, 16) if count > cards):
        if fits(shape, wishes, card, more):
            plan = next(_plans(shape, wishes, card, more))
            how = f", tensor parallel over {plan.engine.shards}" if plan.engine.shards > 1 else ""
            yield f"{more} such GPUs{how}"
            break
    for size in _SIZES:
        if size * GIB > card and fits(shape, wishes, size * GIB, cards):
            yield f"{'a GPU' if cards == 1 else f'{cards} GPUs'} of {size} GiB"
            break
    smaller = (replace(shape, layers=count) for count in range(shape.layers - 1, 0, -1))
    for less in smaller:
        if fits(less, wishes, card, cards):
            yield f"a model of about {less.parameters / 1e9:.2g} billion parameters"
            return
    yield "a far smaller model"
