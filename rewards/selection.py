"""Which rollouts of a group to learn from, if not all: votes are cheap, gradients are not."""

from collections.abc import Sequence
from itertools import accumulate


def spread_most(rewards: Sequence[float], count: int) -> list[int]:
    """Rows of the `count` rewards with the largest variance, in order; all rows if there are no
    more. The best choice is always some of the greatest with some of the least (max-variance
    down-sampling, PODS, arXiv 2504.13818).

    With a count of 2 or more, rewards that differ still differ afterwards.
    """
    if count >= len(rewards):
        return list(range(len(rewards)))
    order = sorted(range(len(rewards)), key=rewards.__getitem__)
    least = [rewards[row] for row in order]
    sums = [0.0, *accumulate(least)]
    squares = [0.0, *accumulate(value * value for value in least)]

    def scatter(low: int) -> float:
        """Sum of squared deviations of the `low` least and the other greatest."""
        high = len(order) - (count - low)
        total = sums[low] + sums[-1] - sums[high]
        return squares[low] + squares[-1] - squares[high] - total * total / count

    # Of several that are as good, the one with as many of either: half of the count.
    low = max(range(count + 1), key=lambda low: (round(scatter(low), 9), -abs(2 * low - count)))
    return sorted(order[:low] + order[len(order) - (count - low) :])
