"""A plugin that vLLM loads into its processes: LoRA on CPU as one matrix product an adapter.

vLLM 0.32's PyTorch kernels, used on CPU, copy the adapter's weights for every token, which makes an
adapter eight times as slow as base; and they read -1, the index of a token without an adapter, as
the last slot. Those here group the tokens by adapter: for linear layers once a step, since finding
the groups again for each of a step's hundreds of products takes longer than the products.
"""

from collections.abc import Iterator, Sequence
from typing import Any

ALL_ROWS = slice(None)


def register() -> None:
    """Called by vLLM at its start (entry point `vllm.general_plugins`)."""
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    if not current_platform.is_cpu():  # pyright: ignore[reportUnknownMemberType]
        return
    from vllm.lora.ops.torch_ops import lora_ops  # pyright: ignore[reportMissingImports]
    from vllm.lora.punica_wrapper import punica_cpu  # pyright: ignore[reportMissingImports]

    modules: tuple[Any, ...] = (lora_ops, punica_cpu)
    for module in modules:
        for kernel in (bgmv_shrink, bgmv_expand, bgmv_expand_slice):
            setattr(module, kernel.__name__, kernel)
    wrapper: Any = punica_cpu.PunicaWrapperCPU  # pyright: ignore[reportUnknownMemberType]
    before = wrapper.update_metadata

    def update_metadata(self: Any, *given: Any, **named: Any) -> None:
        before(self, *given, **named)
        self.grouped = {}

    wrapper.update_metadata = update_metadata
    wrapper.add_lora_linear = add_lora_linear


def add_lora_linear(  # noqa: PLR0917 (vLLM calls it by position)
    wrapper: Any,
    y: Any,
    x: Any,
    lora_a_stacked: Sequence[Any],
    lora_b_stacked: Sequence[Any],
    scale: float,
    output_slices: Sequence[int],
    **_: Any,
) -> None:
    """y[i] += scale * B[index[i]] @ A[index[i]] @ x[i] for each slice of a layer's output. `y` [T,
    out], `x` [T, in], A [slots, 1, rank, in], B [slots, 1, width, rank]; computed in float32. The
    indices are the `wrapper`'s, as their groups are (`grouped`, by T), which each step empties."""
    groups: list[tuple[int, Any]] | None = wrapper.grouped.get(len(x))
    if groups is None:
        groups = list(_by_slot(wrapper.token_lora_indices, len(x)))
        wrapper.grouped[len(x)] = groups
    for slot, rows in groups:
        taken, start = x[rows].float(), 0
        for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
            low, high = taken @ _weights(a, slot).float().T, _weights(b, slot).float().T
            if scale != 1.0:
                low *= scale
            columns = y[:, start : start + width]
            if rows is not ALL_ROWS:
                columns.index_add_(0, rows, (low @ high).to(y.dtype))
            elif y.dtype == low.dtype:
                columns.addmm_(low, high)
            else:
                columns += low @ high
            start += width


def bgmv_shrink(
    inputs: Any,
    lora_b_weights: Any,
    output_tensor: Any,
    lora_indices_tensor: Any,
    scaling: float = 1.0,
) -> None:
    """output[i] = scaling * A[index[i]] @ inputs[i]; 0 for an index of -1. `inputs` [T, in],
    `lora_b_weights` [slots, rank, in] (or with a 1 second), `output_tensor` [T, rank], in its
    precision. The names are those of vLLM's function, which callers may use."""
    output_tensor.zero_()
    for slot, rows in _by_slot(lora_indices_tensor, len(inputs)):
        weights = _weights(lora_b_weights, slot).to(output_tensor.dtype)
        product = inputs[rows].to(output_tensor.dtype) @ weights.T
        output_tensor[rows, : len(weights)] = product.mul_(scaling)


def bgmv_expand(
    inputs: Any,
    lora_b_weights: Any,
    output_tensor: Any,
    lora_indices_tensor: Any,
    add_inputs: bool = True,
) -> None:
    """output[i] (+)= B[index[i]] @ inputs[i], as far as the output is wide. `inputs` [T, rank],
    `lora_b_weights` [slots, out, rank], `output_tensor` [T, out]."""
    width = min(lora_b_weights.shape[-2], output_tensor.shape[1])
    bgmv_expand_slice(
        inputs, lora_b_weights, output_tensor, lora_indices_tensor, 0, width, add_inputs
    )


def bgmv_expand_slice(  # noqa: PLR0917 (vLLM calls it by position)
    inputs: Any,
    lora_b_weights: Any,
    output_tensor: Any,
    lora_indices_tensor: Any,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """As `bgmv_expand`, into columns [slice_offset, slice_offset + slice_size) of the output."""
    columns = slice(slice_offset, slice_offset + slice_size)
    if not add_inputs:
        output_tensor[:, columns] = 0.0
    for slot, rows in _by_slot(lora_indices_tensor, len(inputs)):
        weights = _weights(lora_b_weights, slot)[:slice_size].to(inputs.dtype)
        output_tensor[rows, columns] += (inputs[rows] @ weights.T).to(output_tensor.dtype)


def _by_slot(indices: Any, count: int) -> Iterator[tuple[int, Any]]:
    """Each adapter's slot and its rows among the first `count`."""
    slots = set(indices[:count].tolist())
    if len(slots) == 1 and (slot := slots.pop()) >= 0:
        yield slot, ALL_ROWS
    for slot in sorted(slots):
        if slot >= 0:
            yield slot, (indices[:count] == slot).nonzero()[:, 0]


def _weights(stacked: Any, slot: int) -> Any:
    matrix = stacked[slot]
    return matrix[0] if matrix.dim() == 3 else matrix
