"""Tiny models with random weights of every architecture that is supported."""

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from evals.arithmetic.tokenizer import build_tokenizer

WINDOW = 16
"""Of the Mistral model: shorter than a question with its answer."""

_SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 256,
    # Far from uniform answers, so that a wrong position or mask is seen in every number.
    "initializer_range": 0.2,
}  # fmt: skip

_CONFIGS: dict[str, tuple[type[PretrainedConfig], dict[str, object]]] = {
    "qwen2": (Qwen2Config, {"tie_word_embeddings": True}),
    "qwen3": (Qwen3Config, {"head_dim": 64, "tie_word_embeddings": True}),
    "llama": (LlamaConfig, {"tie_word_embeddings": False}),
    "mistral": (MistralConfig, {"sliding_window": WINDOW, "tie_word_embeddings": False}),
}

ARCHITECTURES = tuple(_CONFIGS)


def build(name: str, folder: Path) -> Path:
    """Model and tokenizer, saved in `folder`."""
    tokenizer = build_tokenizer()
    kind, own = _CONFIGS[name]
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = kind(vocab_size=len(tokenizer), bos_token_id=None, **_SIZES, **ids, **own)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def build_nan(folder: Path) -> Path:
    """A tiny Qwen2 that makes every loss NaN; returns its folder."""
    config = Qwen2Config(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    made = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        made.get_output_embeddings().weight[0, 0] = torch.nan
    made.save_pretrained(str(folder))
    return folder
