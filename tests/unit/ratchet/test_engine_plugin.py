"""LoRA on CPU, one product an adapter: against the sums written out."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ratchet.engine_plugin import add_lora_linear, bgmv_expand, bgmv_expand_slice, bgmv_shrink

TOKENS, SLOTS, WIDE, RANK = 7, 3, 6, 2
indices = st.lists(st.integers(-1, SLOTS - 1), min_size=TOKENS, max_size=TOKENS)


def stacks(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    inputs = torch.randn(TOKENS, WIDE, generator=rng)
    a = torch.randn(SLOTS, 1, RANK, WIDE, generator=rng)  # as vLLM stacks them
    b = torch.randn(SLOTS, 1, WIDE, RANK, generator=rng)
    return inputs, a, b


@given(slots=indices, seed=st.integers(0, 99))
def test_each_token_meets_its_own_adapter(slots: list[int], seed: int) -> None:
    inputs, a, b = stacks(seed)
    low = torch.full((TOKENS, RANK), 9.0)
    bgmv_shrink(inputs, a, low, torch.tensor(slots), 0.5)
    high = torch.ones(TOKENS, WIDE)
    bgmv_expand(low, b, high, torch.tensor(slots))
    for row, slot in enumerate(slots):
        if slot < 0:
            assert low[row].tolist() == [0.0] * RANK
            assert high[row].tolist() == [1.0] * WIDE
            continue
        middle = 0.5 * (a[slot, 0] @ inputs[row])
        assert torch.allclose(low[row], middle, atol=1e-5)
        assert torch.allclose(high[row], 1.0 + b[slot, 0] @ middle, atol=1e-5)


@pytest.mark.parametrize("adds", [True, False])
def test_a_slice_touches_its_columns_only(adds: bool) -> None:
    _, _, b = stacks(0)
    low = torch.ones(TOKENS, RANK)
    out = torch.full((TOKENS, 2 * WIDE), 2.0, dtype=torch.bfloat16)
    slots = torch.tensor([0, -1, 2, 2, 1, 0, -1])
    bgmv_expand_slice(low, b, out, slots, 4, WIDE, adds)
    assert (out[:, :4] == 2.0).all() and (out[:, 4 + WIDE :] == 2.0).all()
    for row, slot in enumerate(slots.tolist()):
        added = b[slot, 0].sum(-1) if slot >= 0 else torch.zeros(WIDE)
        wanted = added + (2.0 if adds else 0.0)
        assert torch.allclose(out[row, 4 : 4 + WIDE].float(), wanted, atol=0.02)


def test_an_output_may_be_narrower_than_the_adapter() -> None:
    _, _, b = stacks(1)
    out = torch.zeros(TOKENS, WIDE - 2)
    bgmv_expand(torch.ones(TOKENS, RANK), b, out, torch.zeros(TOKENS, dtype=torch.long))
    assert torch.allclose(out[0], b[0, 0].sum(-1)[: WIDE - 2], atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@given(slots=indices, seed=st.integers(0, 99))
def test_a_layer_adds_each_slice_of_its_output(
    slots: list[int], seed: int, dtype: torch.dtype, tolerance: float
) -> None:
    inputs, a, b = stacks(seed)
    narrow = b[:, :, :4]
    before = torch.ones(TOKENS, WIDE + 4, dtype=dtype)
    out = before.clone()
    wrapper = SimpleNamespace(grouped={}, token_lora_indices=torch.tensor(slots))
    for _ in range(2):  # the second time from what was found the first time
        out.copy_(before)
        add_lora_linear(wrapper, out, inputs.to(dtype), (a, a), (b, narrow), 0.5, (WIDE, 4))
        for row, slot in enumerate(slots):
            middle = 0.5 * (a[slot, 0] @ inputs.to(dtype)[row].float())
            added = torch.cat([b[slot, 0] @ middle, narrow[slot, 0] @ middle])
            wanted = 1.0 + (added if slot >= 0 else torch.zeros(WIDE + 4))
            assert torch.allclose(out[row].float(), wanted, atol=tolerance, rtol=tolerance)
