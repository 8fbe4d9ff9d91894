"""Who may win."""

import pytest

from rewards.votes import Vote
from server.policy.support import Support


def vote(total: int, **counts: int) -> Vote:
    return Vote(answer="a", winner=0, cluster=0, valid=total, total=total, counts=counts)


@pytest.mark.parametrize(
    ("total", "needed"), [(1, 2), (2, 2), (8, 2), (16, 2), (17, 3), (24, 3), (25, 4), (64, 8)]
)
def test_two_rollouts_and_an_eighth(total: int, needed: int) -> None:
    assert Support().needed(total) == needed


def test_a_share_is_of_all_rollouts() -> None:
    assert Support().holds(vote(16, a=2, b=1))
    assert not Support().holds(vote(17, a=2, b=1))
    assert not Support(0.0).holds(vote(4, a=1))
    assert not Support().holds(vote(4))
    assert Support(0.7).needed(10) == 7  # not 8, though 0.7 * 10 is a little more than 7
