"""The sizes of a model that its memory follows from, read from its config.json alone. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


class ShapeUnknown(ValueError):
    """A config does not describe a dense decoder of the Llama kind; the message names the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A dense decoder: gated MLP, grouped-query attention, two norms a layer.

    `query` and `key_value` are the widths of those projections: heads times the size of a head.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    query: int
    key_value: int
    vocabulary: int
    tied: bool
    head_norms: bool = False
    """Queries and keys have a norm of their own, as in Qwen3."""

    @staticmethod
    def of(config: Mapping[str, Any]) -> "ModelShape":
        """Of a parsed config.json. Raises ShapeUnknown."""
        text = cast("Mapping[str, Any]", config.get("text_config") or config)
        if experts := [key for key in _EXPERTS if text.get(key)]:
            raise ShapeUnknown(f"{experts[0]}: memory of mixtures of experts cannot be planned")
        hidden, heads = _number(text, "hidden_size"), _number(text, "num_attention_heads")
        head = int(text.get("head_dim") or hidden // heads)
        return ModelShape(
            hidden=hidden,
            intermediate=_number(text, "intermediate_size"),
            layers=_number(text, "num_hidden_layers"),
            heads=heads,
            query=heads * head,
            key_value=int(text.get("num_key_value_heads") or heads) * head,
            vocabulary=_number(text, "vocab_size"),
            tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
            head_norms=str(text.get("model_type", "")).startswith("qwen3"),
        )

    @property
    def linear(self) -> int:
        """Parameters of one layer's linear projections."""
        attention = 2 * self.hidden * (self.query + self.key_value)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def parameters(self) -> int:
        """Parameters of the base model; biases, a few thousandths of it, are left out."""
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return tables + self.layers * (self.linear + 2 * self.hidden) + self.hidden

    def adapter(self, rank: int) -> int:
        """Parameters of a LoRA on all linear layers: rank x (inputs + outputs) of each."""
        ends = 4 * self.hidden + 2 * (self.query + self.key_value)  # q, k, v and o
        ends += 3 * (self.hidden + self.intermediate)  # gate, up and down
        return self.layers * rank * ends


def _number(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ShapeUnknown(f"{key}: a whole number is wanted in config.json, not {value!r}")
    return value
