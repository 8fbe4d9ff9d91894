"""Rollouts sampled in this process, without an engine."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast

from evals.arithmetic.questions import Question
from evals.arithmetic.tokenizer import END, prompt_ids, prompt_text
from rewards.answers.math_answers import MathAnswers
from rewards.rollouts import FINISHED, Rollout, RolloutGroup, Sampling

# The longest reply takes 22 tokens; longer ones are truncated here.
MAX_NEW_TOKENS = 40

_KIND = MathAnswers()


@dataclass(frozen=True, slots=True)
class Decoding:
    """How to sample: `n` rollouts a question, with the same first `shared` tokens, at most
    `max_tokens` each (0: as many as the sampler allows)."""

    n: int = 32
    temperature: float = 1.0
    top_p: float = 1.0
    shared: int = 0
    max_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One sampled completion."""

    text: str
    token_ids: list[int]
    """With the end marker, if it was reached."""
    logprobs: list[float]
    """One a token, natural, at the sampling temperature, before top-p."""
    entropy: float
    """Mean over tokens, in nats, full vocabulary, at the sampling temperature, before top-p."""
    ended: bool
    """Whether it reached the end marker; a reply that was cut off has no answer."""

    @property
    def answer(self) -> str | None:
        """Its answer, as votes and grades read it."""
        return _KIND.read(self.rollout)

    @property
    def rollout(self) -> Rollout:
        """The reply as an engine would give it."""
        reason = FINISHED if self.ended else "length"
        return Rollout(self.text, self.token_ids, self.logprobs, reason, entropy=self.entropy)


def _nucleus(probs: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keeps the smallest set of tokens that holds `top_p`; [rows, vocabulary], renormalised."""
    if top_p >= 1:
        return probs
    ordered, order = probs.sort(dim=-1, descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = torch.zeros_like(probs).scatter(-1, order, ordered.masked_fill(before >= top_p, 0.0))
    return kept / kept.sum(dim=-1, keepdim=True)


@torch.inference_mode()
def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    asked: Sequence[Question],
    decoding: Decoding,
    *,
    generator: torch.Generator,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[list[Reply]]:
    """Replies to each question, in the order of the questions.

    Samples with transformers and a key-value cache: some 500 replies a second on two cores.
    """
    n, temperature = decoding.n, decoding.temperature
    texts = [prompt_text(item.text) for item in asked]
    prompts = cast(list[list[int]], tokenizer(texts)["input_ids"])
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_length[len(prompt)].append(index)
    end = tokenizer.convert_tokens_to_ids(END)
    replies: list[list[Reply]] = [[] for _ in asked]
    # Prompts of one length need neither padding nor a mask.
    for indices in by_length.values():
        ids = torch.tensor([prompts[index] for index in indices])
        cache = DynamicCache(config=model.config)
        logits = model(input_ids=ids, past_key_values=cache, use_cache=True).logits[:, -1]
        cache.batch_repeat_interleave(n)
        logits = logits.repeat_interleave(n, dim=0)
        tokens: list[torch.Tensor] = []
        chosen: list[torch.Tensor] = []
        entropies: list[torch.Tensor] = []
        open_rows = torch.ones(len(logits), dtype=torch.bool)
        for position in range(max_new_tokens):
            log_probs = (logits / temperature).log_softmax(dim=-1)
            probs = log_probs.exp()
            entropies.append(-(probs * log_probs).sum(dim=-1))
            token = torch.multinomial(_nucleus(probs, decoding.top_p), 1, generator=generator)
            if position < decoding.shared:
                token = token[::n].repeat_interleave(n, dim=0)
            tokens.append(token.squeeze(1))
            chosen.append(log_probs.gather(1, token).squeeze(1))
            open_rows = open_rows & (tokens[-1] != end)
            if not open_rows.any():
                break
            logits = model(input_ids=token, past_key_values=cache, use_cache=True).logits[:, -1]
        rows = cast(list[list[int]], torch.stack(tokens, dim=1).tolist())
        scores = cast(list[list[float]], torch.stack(chosen, dim=1).tolist())
        doubts = cast(list[list[float]], torch.stack(entropies, dim=1).tolist())
        for row, (row_ids, row_scores, row_doubts) in enumerate(
            zip(rows, scores, doubts, strict=True)
        ):
            ended = end in row_ids
            length = row_ids.index(end) + 1 if ended else len(row_ids)
            text = cast(str, tokenizer.decode(row_ids[:length], skip_special_tokens=True))
            entropy = sum(row_doubts[:length]) / length
            replies[indices[row // n]].append(
                Reply(
                    text=text,
                    token_ids=row_ids[:length],
                    logprobs=row_scores[:length],
                    entropy=entropy,
                    ended=ended,
                )
            )
    return replies


class GroupSampler(Protocol):
    """Whatever samples groups of rollouts."""

    def groups(self, asked: Sequence[Question], decoding: Decoding) -> list[RolloutGroup]:
        """One group a question."""
        ...


class Sampler:
    """Samples from a model that may be training. Same seed and weights, same rollouts."""

    def __init__(self, model: Any, tokenizer: Any, seed: int) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._generator = torch.Generator().manual_seed(seed)

    def groups(self, asked: Sequence[Question], decoding: Decoding) -> list[RolloutGroup]:
        """One group a question. Log-probabilities and entropies are exact: those of the sampled
        weights over the full vocabulary, at the temperature."""
        most = decoding.max_tokens or MAX_NEW_TOKENS
        drawn = sample(
            self._model, self._tokenizer, asked, decoding,
            generator=self._generator, max_new_tokens=most,
        )  # fmt: skip
        sampling = Sampling(decoding.temperature, max_tokens=most)
        return [
            RolloutGroup(
                question.id,
                question.text,
                prompt_ids(self._tokenizer, question.text),
                [reply.rollout for reply in replies],
                policy_version=0,
                sampling=sampling,
                client="",
                created_at=time.time(),
            )
            for question, replies in zip(asked, drawn, strict=True)
        ]
