"""What the DARE paper claims of its mechanism (arXiv 2601.21804), each on a constructed group."""

import statistics

import pytest

from rewards.advantages import grpo
from rewards.estimators.dare import Dare
from rewards.estimators.majority import Majority
from tests.unit.rewards.tallies import evidence


def rewards(estimator, answers, entropies) -> list[float]:
    return list(estimator.estimate(evidence(answers, entropies=entropies)).rewards)


def test_signal_outside_the_majority_is_kept() -> None:
    answers, entropies = ["3"] * 5 + ["4"] * 3, [0.4] * 5 + [0.3] * 3
    assert rewards(Majority(), answers, entropies)[5:] == [0, 0, 0]
    assert min(rewards(Dare(), answers, entropies)[5:]) > 0.4


@pytest.mark.parametrize("copies", [4, 5, 6])
def test_correlated_wrong_majorities_are_weakened_by_their_uncertainty(copies: int) -> None:
    """Rollouts that share one uncertain path outvote the truth, but no longer out-reward it."""
    answers = ["wrong"] * copies + ["right"] * 3
    entropies = [0.9] * copies + [0.2] * 3
    by_vote = grpo([rewards(Majority(), answers, entropies)], [])[0]
    by_dare = grpo([rewards(Dare(), answers, entropies)], [])[0]
    assert by_vote[0] > 0 > by_vote[-1]
    assert by_dare[0] < 0 < by_dare[-1]


def test_the_bonus_lifts_rare_certain_answers_and_them_most() -> None:
    answers = ["common"] * 6 + ["rare and sure", "rare and unsure"]
    entropies = [0.3] * 6 + [0.1, 0.9]
    plain = rewards(Dare(alpha=0, tau=0), answers, entropies)
    lifted = rewards(Dare(alpha=0.5, tau=0), answers, entropies)
    gain = [after - before for before, after in zip(plain, lifted, strict=True)]
    assert gain[6] == pytest.approx(0.5 * 7 / 8 * 0.9)
    assert gain[6] > gain[0] > gain[7] > 0


def test_pruning_lowers_the_variance_of_rewards_over_resampled_groups() -> None:
    """The reward of the same answer moves less from one draw of rollouts to the next."""
    stray = [["7", "8"], ["7", "9"], ["8"], ["7", "8", "9"], []]
    spread = {}
    for tau in (0.0, 0.2):
        drawn = [
            rewards(Dare(alpha=0, tau=tau), ["3"] * 8 + extra, [0.3] * 8 + [0.3] * len(extra))[0]
            for extra in stray
        ]
        spread[tau] = statistics.pvariance(drawn)
    assert spread[0.2] == 0.0
    assert spread[0.0] > 0.004


def test_its_known_weakness_a_confidently_wrong_rollout_wins() -> None:
    """The criticism holds: low entropy is no proof of good reasoning. eps is what limits it."""
    answers, entropies = ["right"] * 7 + ["wrong"], [0.35] * 7 + [0.0]
    careless = rewards(Dare(eps=1e-3, alpha=0, tau=0), answers, entropies)
    careful = rewards(Dare(eps=0.1, alpha=0, tau=0), answers, entropies)
    assert careless[7] > careless[0]
    assert careful[7] < careful[0]
