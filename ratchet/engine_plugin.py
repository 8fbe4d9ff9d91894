"""A plugin that vLLM loads into its processes: fixes its LoRA kernels on CPU.

vLLM 0.32 marks tokens without an adapter by the index -1. Its Triton kernels skip them; its PyTorch
kernels, used on CPU, read -1 as the last slot: once `--max-loras` adapters have been loaded, the
base model answers with one of them.
"""

from typing import Any


def register() -> None:
    """Called by vLLM at its start (entry point `vllm.general_plugins`)."""
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    if not current_platform.is_cpu():  # pyright: ignore[reportUnknownMemberType]
        return
    from vllm.lora.ops.torch_ops import lora_ops  # pyright: ignore[reportMissingImports]
    from vllm.lora.punica_wrapper import punica_cpu  # pyright: ignore[reportMissingImports]

    modules: tuple[Any, ...] = (lora_ops, punica_cpu)
    shrink: Any = lora_ops.bgmv_shrink  # pyright: ignore[reportUnknownVariableType]

    def bgmv_shrink(inputs: Any, weights: Any, output: Any, indices: Any, *scaling: float) -> None:
        shrink(inputs, weights, output, indices, *scaling)
        output[: len(indices)][indices < 0] = 0.0

    for module in modules:
        module.bgmv_shrink = bgmv_shrink
