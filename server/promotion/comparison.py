"""Two policies on one query, scored by the reference's own consensus or by a label.

Without a label, rollout j of either policy scores 1 if it gives the answer that the majority of the
reference's other rollouts gives. Leaving rollout j out makes the score fair: two equal policies
have equal expectations, so that a difference is one of the policies.
"""

from collections.abc import Sequence

from rewards.answers.kind import AnswerKind, cluster_of
from rewards.answers.tally import Tally

Answers = Sequence[str | None]


def difference(
    kind: AnswerKind, candidate: Answers, reference: Answers, label: str | None = None
) -> float:
    """Mean score of the candidate's M rollouts minus that of the reference's M, in [-1, 1].

    Raises ValueError if they are not equally many.
    """
    count = len(reference)
    if len(candidate) != count:
        raise ValueError(f"{len(candidate)} rollouts against {count}")
    tally = kind.tally([*reference, *candidate])
    theirs, ours = tally.clusters[:count], tally.clusters[count:]
    if label is not None:
        right = cluster_of(kind, tally, label)
        wanted = [right] * count
    else:
        wanted = _consensus_of_others(tally, count)
    scores = [
        (own == want) - (other == want)
        for own, other, want in zip(ours, theirs, wanted, strict=True)
        if want is not None
    ]
    return sum(scores) / count


def _consensus_of_others(tally: Tally, count: int) -> list[int | None]:
    """For each of the first `count` rollouts the majority of the other ones' answers; a tie goes to
    the one seen first, and None means that nobody else answered."""
    votes = tally.clusters[:count]
    found: list[int | None] = []
    for left_out in range(count):
        sizes: dict[int, int] = {}
        for index, cluster in enumerate(votes):
            if cluster is not None and index != left_out:
                sizes[cluster] = sizes.get(cluster, 0) + 1
        found.append(max(sizes, key=lambda cluster: sizes[cluster]) if sizes else None)
    return found
