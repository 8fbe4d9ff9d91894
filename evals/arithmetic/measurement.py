"""avg@k, maj@k, pass@k and token entropies of an arithmetic model, by plain sampling.

Needs no engine: it samples with transformers and a key-value cache, fast enough for some 500
replies a second on two cores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast

from evals.arithmetic import tokenizer
from evals.arithmetic.questions import Question
from rewards.answers.math_answers import MathAnswers
from rewards.metrics import avg_at_n, correctness, maj_at_n
from rewards.rollouts import FINISHED, Rollout

# The longest reply takes 22 tokens; a model that rambles is cut off here.
MAX_NEW_TOKENS = 40


_KIND = MathAnswers()


@dataclass(frozen=True, slots=True)
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
    """Whether it reached the end marker; what was cut off has no answer."""

    @property
    def answer(self) -> str | None:
        """What it answers, by the rules that votes and grades go by."""
        finish_reason = FINISHED if self.ended else "length"
        return _KIND.read(Rollout(self.text, self.token_ids, self.logprobs, finish_reason))


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracies in [0, 1] over a set of questions; entropies in nats."""

    questions: int
    avg: float
    maj: float
    passed: float
    entropy_right: float
    entropy_wrong: float
    auc: float
    """Chance that a wrong reply has more entropy than a right one; nan if there is no pair."""
    tokens: float
    """Mean length of a reply."""


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
    words: PreTrainedTokenizerFast,
    asked: Sequence[Question],
    n: int,
    temperature: float,
    top_p: float,
    generator: torch.Generator,
    max_new_tokens: int = MAX_NEW_TOKENS,
    shared: int = 0,
) -> list[list[Reply]]:
    """`n` replies to each question, in the order of the questions; the first `shared` tokens of
    all replies to one question are those of its first."""
    texts = [tokenizer.prompt_text(item.text) for item in asked]
    prompts = cast(list[list[int]], words(texts)["input_ids"])
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        by_length[len(prompt)].append(index)
    end = words.convert_tokens_to_ids(tokenizer.END)
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
            token = torch.multinomial(_nucleus(probs, top_p), 1, generator=generator)
            if position < shared:
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
            text = cast(str, words.decode(row_ids[:length], skip_special_tokens=True))
            entropy = sum(row_doubts[:length]) / length
            replies[indices[row // n]].append(
                Reply(text, row_ids[:length], row_scores[:length], entropy, ended)
            )
    return replies


def auc(lower: Sequence[float], higher: Sequence[float]) -> float:
    """Chance that a draw from `higher` exceeds one from `lower`, ties counting half."""
    if not lower or not higher:
        return float("nan")
    a, b = torch.tensor(lower).sort().values, torch.tensor(higher)
    below = torch.searchsorted(a, b, right=False) + torch.searchsorted(a, b, right=True)
    return float(below.double().mean()) / (2 * len(lower))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def score(asked: Sequence[Question], replies: Sequence[Sequence[Reply]]) -> Score:
    """Grades replies against the questions' answers. The two sequences go together."""
    right: list[float] = []
    wrong: list[float] = []
    avg: list[float] = []
    maj: list[float] = []
    passed: list[float] = []
    for item, group in zip(asked, replies, strict=True):
        tally = _KIND.tally([reply.answer for reply in group])
        hits = correctness(_KIND, tally, item.answer)
        for reply, hit in zip(group, hits, strict=True):
            (right if hit else wrong).append(reply.entropy)
        avg.append(avg_at_n(hits))
        maj.append(maj_at_n(tally, hits))
        passed.append(float(any(hits)))
    return Score(
        questions=len(asked),
        avg=_mean(avg),
        maj=_mean(maj),
        passed=_mean(passed),
        entropy_right=_mean(right),
        entropy_wrong=_mean(wrong),
        auc=auc(right, wrong),
        tokens=_mean([len(reply.token_ids) for group in replies for reply in group]),
    )


def measure(
    model: PreTrainedModel,
    words: PreTrainedTokenizerFast,
    asked: Sequence[Question],
    n: int = 16,
    temperature: float = 0.6,
    top_p: float = 0.95,
    seed: int = 0,
) -> dict[int, Score]:
    """Scores by level, and over all levels under key 0."""
    generator = torch.Generator().manual_seed(seed)
    replies = sample(model, words, asked, n, temperature, top_p, generator)
    scores = {0: score(asked, replies)}
    for level in sorted({item.level for item in asked}):
        chosen = [index for index, item in enumerate(asked) if item.level == level]
        scores[level] = score([asked[i] for i in chosen], [replies[i] for i in chosen])
    return scores


def table(scores: dict[int, Score]) -> str:
    """The scores as a Markdown table, in percent and nats."""
    lines = [
        "| level | questions | avg | maj | pass | entropy right | entropy wrong | AUC | tokens |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for level, it in sorted(scores.items(), key=lambda pair: pair[0] or 99):
        lines.append(
            f"| {f'L{level}' if level else 'all'} | {it.questions} | {it.avg:.1%} | {it.maj:.1%} "
            f"| {it.passed:.1%} | {it.entropy_right:.3f} | {it.entropy_wrong:.3f} "
            f"| {it.auc:.2f} | {it.tokens:.1f} |"
        )
    return "\n".join(lines)
