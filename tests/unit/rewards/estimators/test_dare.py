"""DARE by hand: the reference numbers, and every option."""

import math

import pytest

from rewards.advantages import grpo
from rewards.estimators.dare import Dare
from rewards.estimators.estimate import Estimate
from rewards.estimators.evidence import MissingEvidence
from tests.unit.rewards.tallies import evidence

ANSWERS = ["A"] * 4 + ["B"] * 3 + ["C"]
ENTROPIES = [0.4] * 4 + [0.2] * 3 + [0.8]


def near(*values: float) -> object:
    return pytest.approx(list(values), abs=1e-6)


def estimate(answers, entropies, **options) -> Estimate:
    return Dare(**options).estimate(evidence(answers, entropies=entropies))


def standardised(rewards) -> list[float]:
    return grpo([rewards], [])[0]


def test_it_prefers_the_certain_minority_and_prunes_the_rare() -> None:
    found = estimate(ANSWERS, ENTROPIES, eps=0, alpha=0.1, tau=0.1)
    assert found.rewards == near(*[0.425714] * 4, *[0.645714] * 3, 0.0)
    assert found.label == "B"
    assert found.stats == {
        "majority_ratio": 0.5, "answered": 1.0, "distinct": 3.0, "pruned": 1 / 8
    }  # fmt: skip
    assert standardised(found.rewards) == near(*[-0.137063] * 4, *[0.892578] * 3, -2.129484)


def test_defaults() -> None:
    # tau 1.5/8; weights 4/.45, 3/.25, 1/.85: p .402845 .543838 .053317, C pruned;
    # p~ .425532 .574468; b~ (3/7)(.6) = .257143, (4/7)(.8) = .457143
    assert estimate(ANSWERS, ENTROPIES).rewards == near(*[0.451246] * 4, *[0.620182] * 3, 0)


@pytest.mark.parametrize(
    ("alpha", "first", "second"), [(0, 0.75, 0.25), (0.1, 0.7675, 0.3025), (0.5, 0.8375, 0.5125)]
)
def test_alpha_vanishes_in_the_advantage_when_entropies_are_equal(alpha, first, second) -> None:
    rewards = estimate(["A"] * 6 + ["B"] * 2, [0.3] * 8, eps=0, alpha=alpha, tau=0).rewards
    assert rewards == near(*[first] * 6, *[second] * 2)
    assert standardised(rewards) == pytest.approx([0.54006] * 6 + [-1.62018] * 2, abs=1e-5)


@pytest.mark.parametrize(
    ("uncertainty", "majority", "minority"),
    [
        ("clip", 0.985577, 0.076923),
        ("raw", 0.985577, -0.298077),
        ("exp", 0.998893, 0.127674),  # .25 e^-.5 = .151633, .75 e^-2 = .101501
        ("vocab", 1.002993, -0.089088),  # ln 4 = 1.386294: .25(.639326), .75(-.442695)
    ],
)
def test_how_uncertainty_enters_the_bonus(uncertainty, majority, minority) -> None:
    found = estimate(
        ["A"] * 3 + ["B"], [0.5] * 3 + [2.0], eps=0, alpha=0.5, tau=0, uncertainty=uncertainty,
        vocab_size=4,
    )  # fmt: skip
    assert found.rewards == near(*[majority] * 3, minority)


def test_clip_also_bounds_from_below() -> None:
    below = estimate(["A", "B"], [-0.1, 0.5], eps=0.3, alpha=1, tau=0).rewards
    # weights 1/.2, 1/.8: p .8 .2; bonuses .5 * 1 and .5 * .5
    assert below == near(1.3, 0.45)


@pytest.mark.parametrize(("eps", "share"), [(1e-8, 0.9999998), (0.01, 0.837209), (0.1, 0.391304)])
def test_a_tiny_eps_lets_one_certain_rollout_win(eps: float, share: float) -> None:
    # 1/eps against 7/(.35 + eps)
    found = estimate(["A"] * 7 + ["B"], [0.35] * 7 + [0.0], eps=eps, alpha=0, tau=0)
    assert found.rewards[7] == pytest.approx(share, abs=1e-6)


def test_certain_answers_without_eps() -> None:
    found = estimate(["A", "A", "B"], [0.0, 0.0, 0.3], eps=0, alpha=0, tau=0)
    assert found.rewards == near(1.0, 1.0, 0.0)
    both = estimate(["A", "A", "B"], [0.0] * 3, eps=0, alpha=0, tau=0)
    assert both.rewards == near(2 / 3, 2 / 3, 1 / 3)


def test_over_rollouts_ranks_the_minority_above_the_majority_and_says_so() -> None:
    with pytest.warns(UserWarning, match="minority above the majority"):
        dare = Dare(eps=0, alpha=0.5, tau=0, normalise="rollouts")
    found = dare.estimate(evidence(["A"] * 6 + ["B"] * 2, entropies=[0.3] * 8))
    # weights 20 and 6.667; sum over rollouts 6*20 + 2*6.667 = 133.33; p = .15, .05
    # bonus .25*.7 = .175 and .75*.7 = .525; r = .15 + .0875, .05 + .2625
    assert found.rewards == near(*[0.2375] * 6, *[0.3125] * 2)


def test_what_tau_prunes_is_the_same_over_rollouts() -> None:
    # the talk's step 1 sums over answers: p .381 .571 .048 before pruning, whichever is chosen
    with pytest.warns(UserWarning, match="minority above the majority"):
        dare = Dare(eps=0.01, alpha=0.7, tau=0.2, normalise="rollouts")
    found = dare.estimate(evidence(ANSWERS, entropies=ENTROPIES))
    # weights 9.756098, 14.285714; sum over rollouts 81.881533: p .119149 .174468
    # bonus 3/7 * .6 = .257143 and 4/7 * .8 = .457143
    assert found.rewards == near(*[0.299149] * 4, *[0.494468] * 3, 0)


def test_pruned_rollouts_can_be_left_out() -> None:
    dropped = estimate(ANSWERS, ENTROPIES, eps=0, alpha=0.1, tau=0.1, pruned="drop")
    assert list(dropped.kept) == [0, 1, 2, 3, 4, 5, 6]
    kept = estimate(ANSWERS, ENTROPIES, eps=0, alpha=0.1, tau=0.1)
    assert list(kept.kept) == list(range(8))
    silent = estimate(["A", None, "A", "B"], [0.1] * 4, pruned="drop", tau=0.4)
    assert list(silent.kept) == [0, 2]


def test_an_answer_exactly_at_tau_survives() -> None:
    assert estimate(["A", "B"], [0.2, 0.2], alpha=0, tau=0.5).rewards == near(0.5, 0.5)


def test_if_nothing_survives_nothing_is_learnt() -> None:
    found = estimate(["A", "B"], [0.1, 0.1], tau=0.9)
    assert (found.label, list(found.rewards), found.informative) == (None, [0, 0], False)
    assert found.stats["pruned"] == 1.0


def test_missing_answers_count_in_tau_but_not_in_the_bonus() -> None:
    # tau 1.5/4; p 1, n = M~ = 3, so no bonus
    assert estimate(["A", "A", None, "A"], [0.5] * 4).rewards == near(1, 1, 0, 1)
    assert estimate([None, None], [0.1, 0.1]).label is None
    assert list(estimate([], []).rewards) == []
    assert estimate(["A"], [0.5]).label is None  # tau 1.5: one rollout proves nothing


def test_u_is_the_mean_over_an_answers_rollouts() -> None:
    # A: u .4, weight 2/.5; B: u .05, weight 1/.15: p .375 .625
    found = estimate(["A", "B", "A"], [0.3, 0.05, 0.5], eps=0.1, alpha=0, tau=0)
    assert found.rewards == near(0.375, 0.625, 0.375)


def test_a_tie_in_p_is_labelled_by_the_first() -> None:
    assert estimate(["B", "A"], [0.2, 0.2], tau=0).label == "B"


def test_topk_reads_the_other_signal() -> None:
    dare = Dare(entropy="topk")
    assert dare.needs == {"topk_entropies"}
    assert dare.estimate(evidence(["1", "1"], topk_entropies=[0.1, 0.2])).rewards == near(1, 1)
    assert Dare().needs == {"entropies"}
    with pytest.raises(MissingEvidence, match="topk_entropies"):
        dare.estimate(evidence(["1"], entropies=[0.1]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_entropies_must_be_finite_where_there_is_an_answer(bad: float) -> None:
    with pytest.raises(MissingEvidence, match=r"entropies\[1\] is .*not finite"):
        estimate(["A", "B"], [0.1, bad])
    assert estimate(["A", None], [0.1, bad]).rewards == near(1.0, 0.0)


def test_one_entropy_per_rollout() -> None:
    with pytest.raises(MissingEvidence, match="entropies: 1 for 2 rollouts"):
        estimate(["A", "B"], [0.1])


def test_it_equals_majority_when_pruning_leaves_one_answer() -> None:
    dare = estimate(["A"] * 5 + ["B"] * 3, [0.3] * 8, eps=0.05, alpha=0.5, tau=0.5)
    assert dare.rewards == near(*[1.0] * 5, *[0.0] * 3)
