"""Log-probabilities and entropies of given tokens, from one forward pass.

A prompt shared by several sequences is computed once, only positions that predict a completion
token reach the output head, and the full logits are never held.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache

from adapter.training.memory.plan import HEAD_ELEMENTS
from adapter.training.sharding import is_sharded


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """Prompt and completion ids of one rollout."""

    prompt: Sequence[int]
    completion: Sequence[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """B sequences over G prompts of one length P: `prompts` [G, P], right-padded `completions`
    [B, C], `owner` [B] the prompt of each, `real` [B, C] marks tokens that are not padding,
    `targets` [N] are those tokens in row order. Padding is on the right, so causal attention needs
    no mask."""

    prompts: Tensor
    completions: Tensor
    owner: Tensor
    real: Tensor
    targets: Tensor

    @staticmethod
    def of(sequences: Sequence[TokenSequence], device: torch.device) -> "PromptBatch":
        """Of sequences whose prompts have one length, else raises ValueError."""
        places: dict[tuple[int, ...], int] = {}
        owner = [places.setdefault(tuple(s.prompt), len(places)) for s in sequences]
        if len({len(prompt) for prompt in places}) != 1:
            raise ValueError("prompts of one batch must have one length")
        shape = (len(sequences), max(len(s.completion) for s in sequences))
        completions = torch.zeros(shape, dtype=torch.long)
        real = torch.zeros(shape, dtype=torch.bool)
        for row, sequence in enumerate(sequences):
            completions[row, : len(sequence.completion)] = torch.tensor(sequence.completion)
            real[row, : len(sequence.completion)] = True
        parts = (torch.tensor(list(places)), completions, torch.tensor(owner), real)
        return PromptBatch(*(p.to(device) for p in (*parts, completions[real])))


def predicting_states(model: Any, batch: PromptBatch) -> Tensor:
    """Last hidden states [N, d] of the positions that predict a completion token, in row order.

    `model` is a transformers causal language model.
    """
    if _may_share(model, batch):
        hidden = _after_shared_prompts(model, batch)
    else:
        ids = torch.cat([batch.prompts[batch.owner], batch.completions], dim=1)
        states = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        hidden = states[:, batch.prompts.shape[1] - 1 : -1]
    return hidden[batch.real]


def score_tokens(model: Any, batch: PromptBatch, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy (nats) of the N completion tokens under `model`, each [N] in fp32
    or better, in row order. Only log-probabilities carry a gradient; when there is none to carry,
    entropies are nan (`adapter.training.exact_signals` computes them alone).

    `temperature` divides the logits, as the engine did when it sampled.
    """
    hidden = predicting_states(model, batch)
    head = model.get_output_embeddings()
    apply = cast("Callable[..., tuple[Tensor, Tensor]]", _HeadScores.apply)
    return apply(hidden, head.weight, head.bias, batch.targets, temperature)


def micro_batches(sequences: Sequence[TokenSequence], budget: int) -> Iterator[list[int]]:
    """Indices in groups of one prompt length and at most `budget` tokens (or one sequence); padding
    counts, and each distinct prompt counts once."""
    batch: list[int] = []
    prompts: set[tuple[int, ...]] = set()

    def key(index: int) -> tuple[int, int, tuple[int, ...]]:
        sequence = sequences[index]
        return len(sequence.prompt), len(sequence.completion), tuple(sequence.prompt)

    for index in sorted(range(len(sequences)), key=key):
        length, longest, prompt = key(index)
        tokens = (len(batch) + 1) * longest + len(prompts | {prompt}) * length
        if batch and (tokens > budget or length != len(sequences[batch[0]].prompt)):
            yield batch
            batch, prompts = [], set()
        batch.append(index)
        prompts.add(prompt)
    if batch:
        yield batch


def tokens_once(sequences: Sequence[TokenSequence]) -> int:
    """Tokens of all completions and of each distinct prompt."""
    prompts = {tuple(sequence.prompt) for sequence in sequences}
    return sum(len(s.completion) for s in sequences) + sum(map(len, prompts))


def padded_tokens(sequences: Sequence[TokenSequence]) -> int:
    """Tokens of one micro-batch: padding counts, and each distinct prompt counts once."""
    prompts = {tuple(sequence.prompt) for sequence in sequences}
    longest = max(len(sequence.completion) for sequence in sequences)
    return len(sequences) * longest + sum(map(len, prompts))


def _may_share(model: Any, batch: PromptBatch) -> bool:
    """Whether prompts are shared and nothing forbids computing them once."""
    if len(batch.prompts) == len(batch.owner) or model.is_gradient_checkpointing:
        return False
    if is_sharded(model):  # all ranks must call its layers equally often
        return False
    window = getattr(model.config, "sliding_window", None)  # would have to cut a shared cache
    length = batch.prompts.shape[1] + batch.completions.shape[1]
    return window is None or length <= window


def _after_shared_prompts(model: Any, batch: PromptBatch) -> Tensor:
    """[B, C, d]: prompts once, then all completions on their prompt's keys and values."""
    decoder = model.get_decoder()
    cache = DynamicCache(config=model.config)
    prompts = decoder(input_ids=batch.prompts, past_key_values=cache, use_cache=True)
    first = prompts.last_hidden_state[:, -1][batch.owner][:, None]
    if batch.completions.shape[1] == 1:
        return first
    cache.batch_select_indices(batch.owner)
    rest = decoder(input_ids=batch.completions[:, :-1], past_key_values=cache, use_cache=True)
    return torch.cat([first, rest.last_hidden_state], dim=1)


class _HeadScores(torch.autograd.Function):
    """Scores of targets [N] under a frozen output head, in blocks of rows.

    The gradient of a log-probability with respect to its hidden state, (W[y] - p W) / T, is
    computed in the forward pass, where p is at hand, so that nothing of size [N, V] is kept.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, t: float
    ) -> tuple[Tensor, Tensor]:
        kind = torch.promote_types(hidden.dtype, torch.float32)
        rows = max(1, HEAD_ELEMENTS // weight.shape[0])
        logprobs = torch.empty(len(hidden), dtype=kind, device=hidden.device)
        entropies = torch.full_like(logprobs, torch.nan)
        wanted = bool(ctx.needs_input_grad[0])
        slopes = torch.empty_like(hidden) if wanted else hidden.new_empty(0)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            logits = torch.nn.functional.linear(hidden[part], weight, bias).to(kind)
            logs = torch.log_softmax(logits if t == 1.0 else logits.div_(t), dim=-1)
            logprobs[part] = logs.gather(-1, targets[part, None]).squeeze(-1)
            if not wanted:
                continue
            shares = logs.exp()
            entropies[part] = logs.mul_(shares).sum(-1).neg_()
            mean = shares.to(weight.dtype) @ weight
            slopes[part] = (weight[targets[part]] - mean).div_(t)
        ctx.save_for_backward(slopes)
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return gradients[0].to(slopes.dtype)[:, None] * slopes, None, None, None, None
