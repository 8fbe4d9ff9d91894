"""Quality of rollouts and rewards. Accuracies need the truth, which only evaluation has."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from rewards.answers.judging.time_budget import within
from rewards.answers.kind import AnswerKind, cluster_of
from rewards.answers.tally import Tally
from rewards.votes import take_vote


def correctness(kind: AnswerKind, tally: Tally, truth: str) -> list[bool]:
    """Per rollout: whether its answer equals the truth. A missing answer does not."""
    with within():
        right = cluster_of(kind, tally, truth)
    return [cluster is not None and cluster == right for cluster in tally.clusters]


def avg_at_n(correct: Sequence[bool]) -> float:
    """avg@n, which is pass@1: the mean correctness of n rollouts."""
    return sum(correct) / len(correct) if correct else 0.0


def maj_at_n(tally: Tally, correct: Sequence[bool]) -> float:
    """maj@n: whether the majority answer is correct."""
    winner = take_vote(tally).winner
    return float(winner is not None and correct[winner])


def pass_at_k(correct: Sequence[bool], k: int) -> float:
    """The chance that any of k rollouts drawn from these n is correct, without bias.

    1 - C(n - c, k) / C(n, k) with c correct ones (Chen et al., arXiv 2107.03374, equation 1); for
    k = n, whether any is correct. Raises ValueError unless 1 <= k <= n.
    """
    n, right = len(correct), sum(correct)
    if not 1 <= k <= n:
        raise ValueError(f"k must lie in 1..{n}, not {k}")
    return 1 - math.comb(n - right, k) / math.comb(n, k)


def label_accuracy(kind: AnswerKind, label: str | None, truth: str) -> float:
    """Whether the estimated label is the truth."""
    return float(label is not None and kind.same(label, truth))


def reward_accuracy(
    kind: AnswerKind, tally: Tally, label: str | None, correct: Sequence[bool]
) -> float:
    """Share of rollouts whose 0/1 reward under the estimated label equals that under the truth.

    TTRL, arXiv 2504.16084, section 4.2: higher than label accuracy, because under a wrong label
    all other wrong answers still get 0. For soft rewards, `label` is where the reward is largest.
    """
    rewarded = [False] * len(tally) if label is None else correctness(kind, tally, label)
    agreeing = sum(one == right for one, right in zip(rewarded, correct, strict=True))
    return agreeing / len(correct) if correct else 0.0


def point_biserial(rewards: Sequence[float], correct: Sequence[bool]) -> float:
    """Pearson correlation of rewards with correctness; 0 where either does not vary."""
    n = len(rewards)
    if n < 2:
        return 0.0
    mean_r, mean_c = math.fsum(rewards) / n, sum(correct) / n
    centred = [(r - mean_r, c - mean_c) for r, c in zip(rewards, correct, strict=True)]
    scale = math.sqrt(math.fsum(r * r for r, _ in centred) * math.fsum(c * c for _, c in centred))
    return math.fsum(r * c for r, c in centred) / scale if scale else 0.0


def rollout_correlation(token_ids: Sequence[Sequence[int]]) -> float:
    """Mean over pairs of rollouts of the overlap of their tokens, |A & B| / |A | B| as multisets.

    DARE measures correlation by pairwise token overlap (arXiv 2601.21804) without giving the
    formula; this is the Jaccard index with multiplicities. 0 for fewer than two rollouts.
    """
    overlaps: list[float] = []
    for one, other in combinations(map(Counter, token_ids), 2):
        union = (one | other).total()
        overlaps.append((one & other).total() / union if union else 1.0)
    return math.fsum(overlaps) / len(overlaps) if overlaps else 0.0
