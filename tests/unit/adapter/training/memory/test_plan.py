"""The plan's arithmetic: by hand, and against what was measured of larger models."""

import pytest

from adapter.training.memory.plan import GIB, DoesNotFit, EngineMemory, LearnerMemory, choose
from adapter.training.memory.shape import ModelShape, ShapeUnknown

TINY = {
    "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 100, "tie_word_embeddings": True,
}  # fmt: skip


def qwen(hidden: int, intermediate: int, layers: int, heads: int, key_values: int) -> ModelShape:
    return ModelShape.of(
        {
            "hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": key_values, "vocab_size": 151_936,
        }
    )  # fmt: skip


QWEN_1_5B = qwen(1536, 8960, 28, 12, 2)
QWEN_7B = qwen(3584, 18_944, 28, 28, 4)
QWEN_32B = qwen(5120, 27_648, 64, 40, 8)


def test_parameters_by_hand() -> None:
    """Projections: q 8x8, k and v 8x4, o 8x8, three of 8x16: 576; norms 2x8 a layer, one of 8."""
    shape = ModelShape.of(TINY)
    assert (shape.query, shape.key_value) == (8, 4)
    assert shape.parameters == 100 * 8 + 2 * (576 + 16) + 8
    # Inputs + outputs: q 16, k 12, v 12, o 16, gate 24, up 24, down 24.
    assert shape.adapter(rank=3) == 2 * 3 * 128


def test_saved_tensors_by_hand() -> None:
    """fp32, rank 1. Norms: 2 x (8 + 1) numbers; inputs of projections 2 x 8, 16 for down (below);
    ranks 7; q, k, v and attention's output 8 + 4 + 4 + 8, its logarithms 2; gate, its activation,
    up and their product 4 x 16."""
    memory = LearnerMemory(shape=ModelShape.of(TINY), rank=1, width=4)
    assert memory.saved_by_layer == 4 * (18 + 16 + 7 + 24 + 2 + 64)


@pytest.mark.parametrize(
    ("shape", "mib"),
    [(QWEN_1_5B, 3.9), (QWEN_7B, 8.6), (QWEN_32B, 28.4)],
    ids=["1.5B", "7B", "32B"],
)
def test_saved_tensors_of_large_models_are_as_measured(shape: ModelShape, mib: float) -> None:
    memory = LearnerMemory(shape=shape, rank=16, width=2)
    assert shape.layers * memory.saved_by_layer / (1 << 20) == pytest.approx(mib, rel=0.01)


@pytest.mark.parametrize(("checkpointing", "measured"), [(False, 35.0), (True, 5.7)])
def test_an_update_of_a_1_5b_model_is_as_measured(checkpointing: bool, measured: float) -> None:
    tied = ModelShape.of({**vars_of(QWEN_1_5B), "tie_word_embeddings": True})
    total = LearnerMemory(shape=tied, rank=16, width=2).total(8192, checkpointing)
    assert total / GIB == pytest.approx(measured, rel=0.15)


def vars_of(shape: ModelShape) -> dict[str, int]:
    head = shape.query // shape.heads
    return {
        "hidden_size": shape.hidden, "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value // head, "vocab_size": shape.vocabulary,
    }  # fmt: skip


def test_the_cache_by_hand() -> None:
    """1.5B in bf16: keys and values, 28 layers, 2 heads of 128, 2 bytes."""
    engine = EngineMemory(shape=QWEN_1_5B, rank=16, width=2, slots=4)
    assert engine.kv_by_token == 2 * 28 * 256 * 2
    assert engine.total(10) - engine.total(0) == 10 * engine.kv_by_token


def test_the_largest_micro_batch_that_fits_is_chosen_and_checkpointing_only_where_needed() -> None:
    memory = LearnerMemory(shape=QWEN_1_5B, rank=16, width=2)
    room = {
        size: choose(memory, size * GIB, tokens=0, checkpointing="auto") for size in (60, 16, 7)
    }
    assert [(c.micro_batch_tokens, c.checkpointing) for c in room.values()] == [
        (8192, False), (2048, False), (4096, True),
    ]  # fmt: skip
    assert all(choice.need <= size * GIB for size, choice in room.items())


def test_what_is_set_is_kept() -> None:
    memory = LearnerMemory(shape=QWEN_1_5B, rank=16, width=2)
    kept = choose(memory, 200 * GIB, tokens=777, checkpointing="on")
    assert (kept.micro_batch_tokens, kept.checkpointing) == (777, True)


@pytest.mark.parametrize(
    ("room", "tokens", "checkpointing", "said"),
    [
        (12, 8192, "off", "lower micro_batch_tokens .* gradient_checkpointing to auto"),
        (12, 0, "auto", None),
        (2, 0, "auto", "may have 2.0 GiB: set model to a smaller one"),
    ],
)
def test_what_does_not_fit_names_the_setting(
    room: int, tokens: int, checkpointing: str, said: str | None
) -> None:
    memory = LearnerMemory(shape=QWEN_1_5B, rank=16, width=2)
    if said is None:
        choose(memory, room * GIB, tokens=tokens, checkpointing=checkpointing)
        return
    with pytest.raises(DoesNotFit, match=said):
        choose(memory, room * GIB, tokens=tokens, checkpointing=checkpointing)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"hidden_size": None}, "hidden_size"), ({"num_experts": 8}, "num_experts")],
)
def test_a_config_of_another_kind_is_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(ShapeUnknown, match=said):
        ModelShape.of({**TINY, **change})
