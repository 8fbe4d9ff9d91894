"""avg@k, maj@k, pass@k and token entropies of an arithmetic model, by plain sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from evals.arithmetic.questions import Question
from evals.arithmetic.sampler import Decoding, Reply, sample
from rewards.answers.math_answers import MathAnswers
from rewards.metrics import avg_at_n, correctness, maj_at_n

PAPERS = Decoding(16, temperature=0.6, top_p=0.95)
"""How the papers sample what they evaluate."""

_KIND = MathAnswers()


@dataclass(frozen=True, slots=True, kw_only=True)
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
    tokenizer: PreTrainedTokenizerFast,
    asked: Sequence[Question],
    decoding: Decoding = PAPERS,
    *,
    seed: int = 0,
) -> dict[int, Score]:
    """Scores by level, and over all levels under key 0."""
    generator = torch.Generator().manual_seed(seed)
    replies = sample(model, tokenizer, asked, decoding, generator=generator)
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
