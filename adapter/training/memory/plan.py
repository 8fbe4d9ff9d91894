"""What learner and engine need in memory, computed from the model's shape. No torch.

docs/memory.md derives the terms; loadtests/memory_bench.py holds them against a real update.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from adapter.training.memory.shape import ModelShape

GIB = 1 << 30
CONTEXT = GIB // 2
"""A CUDA context with its kernels, beside what torch allocates."""
MARGIN = 1.15
"""The plan is within 15% of reality: whatever is chosen gets that much more."""
MOST_TOKENS = 8192
LEAST_TOKENS = 512

HEAD_ELEMENTS = 1 << 23
"""Logits that the output head holds at once: 32 MB in fp32."""
_HEAD_COPIES = 4
"""Logits, their logarithms, probabilities, and one conversion."""
_ADAPTER_BYTES = 32
"""Of a LoRA parameter in fp32: itself, gradient, two moments (16); its first value (4); the copy of
weights and moments that an update is undone to (12)."""
_ENGINE_FIXED = 3 * GIB // 2
"""Of the engine on a GPU: context, captured graphs, communication."""
_ENGINE_BATCH = 2048
"""Tokens of one engine step that its own profiling run reserves for."""
_ENGINE_SEQUENCES = 256


class DoesNotFit(Exception):
    """A process needs more memory than it may have; the message has numbers and settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerMemory:
    """Bytes of an update of `shape` with LoRA of `rank`, base weights of `width` bytes each, spread
    over `shards` devices."""

    shape: ModelShape
    rank: int
    width: int
    shards: int = 1

    @property
    def weights(self) -> int:
        """Base weights on one device; a sharded base has its tables whole on each."""
        s = self.shape
        layers = s.layers * s.linear
        gathered = 2 * s.linear if self.shards > 1 else 0
        return self.width * (s.parameters - layers + layers // self.shards + gathered)

    @property
    def adapter(self) -> int:
        """LoRA with gradient, optimiser and what an update is undone to."""
        return _ADAPTER_BYTES * self.shape.adapter(self.rank)

    @property
    def saved_by_layer(self) -> int:
        """Bytes that autograd keeps of a token for each layer, with PEFT's LoRA in fp32.

        In bf16, each projection's LoRA has its input once more in fp32: three times for q, k and v,
        twice for gate and up. In fp32 those are one tensor.
        """
        s, four = self.shape, 4
        norms = 2 * (s.hidden * four + four)
        ranks = 7 * self.rank * four
        attention = self.width * 2 * (s.query + s.key_value) + s.heads * four
        mlp = self.width * 3 * s.intermediate + four * s.intermediate
        inputs = (5 if self.width < four else 2) * s.hidden * four
        # With fp32 the output projection's copy is what attention gave, in another order.
        inputs += s.query * four if self.width < four else 0
        if s.head_norms:
            norms += four * (s.query + s.key_value)
        return norms + ranks + attention + mlp + inputs

    def by_token(self, checkpointing: bool) -> int:
        """Bytes of a token of a micro-batch at the peak: what is saved, and the gradients of the
        layer whose backward pass is under way."""
        s = self.shape
        moving = 4 * (3 * s.intermediate + 4 * s.hidden)
        if not checkpointing:
            return s.layers * self.saved_by_layer + moving
        return s.layers * s.hidden * self.width + self.saved_by_layer + moving

    def head(self, tokens: int) -> int:
        """Blocks of logits."""
        return _HEAD_COPIES * 4 * min(HEAD_ELEMENTS, tokens * self.shape.vocabulary)

    def update(self, tokens: int, checkpointing: bool) -> int:
        """Bytes beside weights and adapter of an update in micro-batches of `tokens`."""
        both = tokens * self.by_token(checkpointing) + self.head(tokens)
        if not checkpointing:
            return both
        # The head is done with before the first layer is computed again: the larger counts.
        kept = tokens * self.shape.layers * self.shape.hidden * self.width
        return both - min(self.head(tokens), tokens * self.by_token(True) - kept)

    def total(self, tokens: int, checkpointing: bool) -> int:
        """Everything that torch allocates on one device."""
        return self.weights + self.adapter + self.update(tokens, checkpointing)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory:
    """Bytes of the engine on each of `shards` devices (tensor parallel)."""

    shape: ModelShape
    rank: int
    width: int
    slots: int
    shards: int = 1

    @property
    def weights(self) -> int:
        """Base weights."""
        return self.width * self.shape.parameters // self.shards

    @property
    def adapters(self) -> int:
        """Slots for adapters, in the dtype of the weights."""
        return self.slots * self.width * self.shape.adapter(self.rank) // self.shards

    @property
    def kv_by_token(self) -> int:
        """Keys and values of a token."""
        return 2 * self.shape.layers * self.shape.key_value * self.width // self.shards

    @property
    def working(self) -> int:
        """Context, graphs, one step's activations, logits of all sequences."""
        s = self.shape
        step = _ENGINE_BATCH * (3 * s.intermediate + 4 * s.hidden) * self.width // self.shards
        return _ENGINE_FIXED + step + 3 * 4 * _ENGINE_SEQUENCES * s.vocabulary

    def total(self, kv_tokens: int) -> int:
        """All of it, with room for the keys and values of `kv_tokens`."""
        fixed = self.weights + self.adapters + self.working
        return fixed + kv_tokens * self.kv_by_token


@dataclass(frozen=True, slots=True)
class LearnerChoice:
    """Tokens of a micro-batch, whether to checkpoint, and the bytes they need, margin included."""

    micro_batch_tokens: int
    checkpointing: bool
    need: int


def choices(
    memory: LearnerMemory, *, tokens: int, checkpointing: str, least: int = LEAST_TOKENS
) -> Iterator[LearnerChoice]:
    """What the learner could do, best first: large micro-batches without checkpointing, then with
    it, then smaller ones. `tokens` 0 and `checkpointing` "auto" leave them open; `least` tokens
    must go into one micro-batch."""
    sizes = [tokens] if tokens else _halved(max(MOST_TOKENS, least), least)
    ways = [False, True] if checkpointing == "auto" else [checkpointing == "on"]
    for large in (True, False):  # a micro-batch of a quarter fills a device about as well
        for way in ways:
            for size in sizes:
                if (size >= min(sizes[0], MOST_TOKENS // 4)) == large:
                    need = memory.weights + memory.adapter + memory.update(size, way)
                    yield LearnerChoice(size, way, int(MARGIN * need))


def choose(
    memory: LearnerMemory, room: int, *, tokens: int, checkpointing: str, least: int = LEAST_TOKENS
) -> LearnerChoice:
    """The best that fits into `room` bytes. Raises DoesNotFit with the numbers."""
    tried = list(choices(memory, tokens=tokens, checkpointing=checkpointing, least=least))
    for choice in tried:
        if choice.need <= room:
            return choice
    smallest = min(tried, key=lambda choice: choice.need)
    fixed = int(MARGIN * (memory.weights + memory.adapter))
    remedies: list[str] = []
    if fixed <= room:
        remedies += ["lower micro_batch_tokens (0 lets the plan choose)"] if tokens else []
        remedies += ["set gradient_checkpointing to auto"] if checkpointing == "off" else []
    remedies += ["set model to a smaller one", "shard the learner over more GPUs"]
    raise DoesNotFit(
        f"the learner needs {gib(smallest.need)} ({gib(memory.weights)} of weights, "
        f"{gib(memory.adapter)} of adapter and optimiser, the rest for micro-batches of "
        f"{smallest.micro_batch_tokens} tokens) and may have {gib(room)}: " + ", or ".join(remedies)
    )


def gib(size: float) -> str:
    """Bytes as a person reads them."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / (1 << 20):.0f} MiB"


def _halved(most: int, least: int) -> list[int]:
    """`most`, its halves, down to `least`."""
    sizes = [most]
    while sizes[-1] // 2 >= least:
        sizes.append(sizes[-1] // 2)
    return sizes
