"""Two policies on one query, scored by a label, or by the consensus of both.

Answers come as the numbers of their clusters, None where a rollout has none. Without a label, a
rollout of either policy scores 1 if it gives the answer that most of the *other* rollouts of both
give. Leaving the rollout itself out, and pooling both, treats all rollouts alike: two equal
policies have equal expectations, whatever they answer. A policy that is right more often is seen
as better even where the reference's own consensus is wrong, once it wins the pooled vote.
"""

from collections import Counter
from collections.abc import Sequence

from rewards.answers.kind import AnswerKind

Answers = Sequence[str | None]
Clusters = Sequence[int | None]

UNHEARD = -1
"""The cluster of a label that no rollout gave."""


def pooled(candidate: Clusters, reference: Clusters) -> float:
    """Mean score of the candidate's rollouts minus that of the reference's, in [-1, 1], each by the
    majority of all others; a tie counts for each answer in it by its share."""
    ours, theirs = Counter(candidate), Counter(reference)
    votes = ours + theirs
    del votes[None]
    first, second = 0, 0
    for votes_of_it in votes.values():
        if votes_of_it > first:
            first, second = votes_of_it, first
        elif votes_of_it > second:
            second = votes_of_it
    total = 0.0
    for cluster, count in votes.items():
        most = second if count == first else first  # of the others
        left = count - 1
        if not left or left < most:
            continue
        tied = sum(other == left for other in votes.values()) if left == most else 0
        score = 1 / (1 + tied)
        total += score * (ours[cluster] / len(candidate) - theirs[cluster] / len(reference))
    return total


def labelled(candidate: Clusters, reference: Clusters, label: int) -> float:
    """Share of the candidate's rollouts in the label's cluster minus that of the reference's."""
    ours, theirs = _share(candidate, label), _share(reference, label)
    return ours - theirs


def by_reference(candidate: Clusters, reference: Clusters) -> float:
    """Mean score of both by the consensus of the reference alone, without the rollout in whose
    place it is scored; a tie counts by shares. Blind to what the reference gets wrong, but shows
    how far the candidate has left what the reference agrees on. As many rollouts of each."""
    votes = Counter(reference)
    del votes[None]
    total = 0.0
    for own, other in zip(candidate, reference, strict=True):
        if own == other:
            continue
        if other is not None:
            votes[other] -= 1
        if most := max(votes.values(), default=0):
            wanted = [cluster for cluster, count in votes.items() if count == most]
            total += ((own in wanted) - (other in wanted)) / len(wanted)
        if other is not None:
            votes[other] += 1
    return total / len(reference)


def novelty(candidate: Clusters, reference: Clusters) -> float:
    """How surely the candidate agrees on an answer that the reference does not have, in [0, 1]. Not
    at all unless half of its rollouts, and three, share one that the reference did not give. Of
    what a policy says, its rollouts leave out as much as the share of those whose answer came once
    (Good 1953, "The population frequencies of species"): a reference of four different answers may
    have any other, one of four equal ones has none. Learning makes answers more frequent; what was
    never there is taught by damage. Fewer than three agree by chance. A reference without answers
    shows nothing: who says one thing to everything is found by the diversity of answers."""
    given = Counter(c for c in reference if c is not None)
    votes = Counter(c for c in candidate if c is not None and c not in given)
    if not given or max(votes.values(), default=0) < max(3, len(candidate) / 2):
        return 0.0
    return 1 - sum(count == 1 for count in given.values()) / given.total()


def nearer(kind: AnswerKind, candidate: Answers, reference: Answers) -> float:
    """For prose, of which no two are the same: how much closer the candidate's rollouts are to the
    reference's others than these are to one another. As many rollouts of each."""
    total, pairs = 0.0, 0
    for left_out, (own, other) in enumerate(zip(candidate, reference, strict=True)):
        for at, third in enumerate(reference):
            if at != left_out and third is not None:
                near = [0.0 if a is None else kind.closeness(a, third) for a in (own, other)]
                total, pairs = total + near[0] - near[1], pairs + 1
    return total / pairs if pairs else 0.0


def _share(clusters: Clusters, wanted: int) -> float:
    return sum(c == wanted for c in clusters) / len(clusters)
