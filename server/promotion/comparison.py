"""Two policies on one query, scored by the reference's own consensus or by a label.

Without a label, rollout j of either policy scores 1 if it gives the answer that the majority of the
reference's other rollouts gives. Leaving rollout j out makes the score fair: two equal policies
have equal expectations, so any difference is between the policies.
"""

from collections import Counter
from collections.abc import Sequence

from rewards.answers.kind import AnswerKind, cluster_of
from rewards.answers.tally import Tally

Answers = Sequence[str | None]


def difference(
    kind: AnswerKind, candidate: Answers, reference: Answers, label: str | None = None
) -> float:
    """Mean score of the candidate's M rollouts minus that of the reference's M, in [-1, 1]. Raises
    ValueError if their numbers differ."""
    count = len(reference)
    if len(candidate) != count:
        raise ValueError(f"{len(candidate)} rollouts against {count}")
    if kind.name == "text" and label is None:
        return _nearer(kind, candidate, reference)
    tally = kind.tally([*reference, *candidate])
    theirs, ours = tally.clusters[:count], tally.clusters[count:]
    if label is not None:
        wanted = [cluster_of(kind, tally, label)] * count
    else:
        wanted = _consensus_of_others(tally, count)
    scores = [
        (own == want) - (other == want)
        for own, other, want in zip(ours, theirs, wanted, strict=True)
        if want is not None
    ]
    return sum(scores) / count


def _nearer(kind: AnswerKind, candidate: Answers, reference: Answers) -> float:
    """For prose, of which no two are the same: how much closer the candidate's rollouts are to the
    reference's others than these are to one another."""
    total, pairs = 0.0, 0
    for left_out, (own, other) in enumerate(zip(candidate, reference, strict=True)):
        for at, third in enumerate(reference):
            if at != left_out and third is not None:
                near = [0.0 if a is None else kind.closeness(a, third) for a in (own, other)]
                total, pairs = total + near[0] - near[1], pairs + 1
    return total / pairs if pairs else 0.0


def _consensus_of_others(tally: Tally, count: int) -> list[int | None]:
    """For each of the first `count` rollouts the majority among the others' answers; a tie goes to
    the answer seen first, and None means that no other rollout has one."""
    votes = tally.clusters[:count]
    found: list[int | None] = []
    for left_out in range(count):
        sizes = Counter(c for i, c in enumerate(votes) if c is not None and i != left_out)
        found.append(max(sizes, key=sizes.__getitem__) if sizes else None)
    return found
