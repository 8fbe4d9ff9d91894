"""Exact per-token signals over the full vocabulary, without holding the full logits.

One pass over blocks of positions and of the vocabulary keeps running sums, like online softmax
(Milakov and Gimelshein, arXiv 1805.02867).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from rewards.estimators.evidence import Signal

TOP_K = 20
"""Tokens in DeepConf's confidence: as many as vLLM returns at most by default."""

_POSITIONS = 512
_VOCABULARY = 8_192


@torch.no_grad()
def exact_signals(
    hidden: Tensor,
    weight: Tensor,
    names: frozenset[Signal],
    temperature: float = 1.0,
    bias: Tensor | None = None,
) -> Mapping[Signal, Tensor]:
    """Signals of N positions, each [N] fp32, in nats.

    `hidden` [N, d] is the last hidden state, `weight` [V, d] and `bias` [V] the output head;
    `temperature` divides the logits. With log p the log-probabilities: entropies -sum p log p,
    confidences the mean of -log p over the 20 likeliest, self_certainties -log V - mean(log p).
    """
    parts = [
        _block(hidden[start : start + _POSITIONS], weight, names, temperature, bias)
        for start in range(0, max(1, len(hidden)), _POSITIONS)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in names}


def _block(
    hidden: Tensor,
    weight: Tensor,
    names: frozenset[Signal],
    temperature: float,
    bias: Tensor | None,
) -> dict[Signal, Tensor]:
    vocabulary = weight.shape[0]
    rows = torch.zeros(len(hidden), dtype=torch.float32, device=hidden.device)
    largest = torch.full_like(rows, -torch.inf)
    scale, weighted, plain = rows.clone(), rows.clone(), rows.clone()
    top = rows.new_empty((len(rows), 0))
    for start in range(0, vocabulary, _VOCABULARY):
        part = slice(start, start + _VOCABULARY)
        logits = torch.nn.functional.linear(
            hidden, weight[part], None if bias is None else bias[part]
        )
        logits = logits.float().div_(temperature)
        if "self_certainties" in names:
            plain += logits.sum(-1)
        if "confidences" in names:
            joined = torch.cat([top, logits], dim=-1)
            top = joined.topk(min(TOP_K, joined.shape[-1]), dim=-1).values
        grown = torch.maximum(largest, logits.amax(-1))
        shrink = (largest - grown).exp()
        shares = (logits - grown[:, None]).exp_()
        scale = scale * shrink + shares.sum(-1)
        weighted = weighted * shrink + shares.mul_(logits).sum(-1)
        largest = grown
    log_sum = largest + scale.log()
    signals: dict[Signal, Tensor] = {}
    if "entropies" in names:
        signals["entropies"] = (log_sum - weighted / scale).clamp_min_(0.0)
    if "confidences" in names:
        signals["confidences"] = log_sum - top.mean(-1)
    if "self_certainties" in names:
        signals["self_certainties"] = log_sum - plain / vocabulary - torch.tensor(vocabulary).log()
    return signals
