"""The reference numbers of the reward definitions, worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.advantages import ADVANTAGES, dr_grpo, grpo, rloo
from rewards.dare import Dare
from rewards.majority import Majority

ANSWERS = ["A"] * 4 + ["B"] * 3 + ["C"]
ENTROPIES = [0.4] * 4 + [0.2] * 3 + [0.8]


def near(*values: float) -> object:
    return pytest.approx(list(values), abs=1e-5)


def test_majority_rewards_and_advantages() -> None:
    estimate = Majority().estimate(ANSWERS)
    assert estimate.rewards == [1, 1, 1, 1, 0, 0, 0, 0]
    assert estimate.label == "A"
    assert grpo(estimate.rewards) == near(*[0.935413] * 4, *[-0.935413] * 4)
    assert rloo(estimate.rewards) == near(*[0.571429] * 4, *[-0.571429] * 4)
    assert dr_grpo(estimate.rewards) == near(*[0.5] * 4, *[-0.5] * 4)


def test_majority_never_rewards_a_missing_answer() -> None:
    assert Majority().estimate([None, None, "3"]).rewards == [0, 0, 1]
    nobody = Majority().estimate([None, None])
    assert (nobody.rewards, nobody.label) == ([0, 0], None)


def test_dare_prefers_the_certain_minority_and_prunes_the_rare() -> None:
    estimate = Dare(eps=0, alpha=0.1, tau=0.1).estimate(ANSWERS, ENTROPIES)
    assert estimate.rewards == near(*[0.425714] * 4, *[0.645714] * 3, 0.0)
    assert estimate.label == "B"
    assert grpo(estimate.rewards) == near(*[-0.137063] * 4, *[0.892578] * 3, -2.129484)


@pytest.mark.parametrize(
    ("alpha", "first", "second"), [(0, 0.75, 0.25), (0.1, 0.7675, 0.3025), (0.5, 0.8375, 0.5125)]
)
def test_dare_alpha_vanishes_in_the_advantage_when_entropies_are_equal(
    alpha: float, first: float, second: float
) -> None:
    rewards = Dare(eps=0, alpha=alpha, tau=0).estimate(["A"] * 6 + ["B"] * 2, [0.3] * 8).rewards
    assert rewards == near(*[first] * 6, *[second] * 2)
    assert grpo(rewards) == near(*[0.54006] * 6, *[-1.62018] * 2)


@pytest.mark.parametrize(("uncertainty", "minority"), [("clip", 0.076923), ("raw", -0.298077)])
def test_dare_bonus_above_one_nat(uncertainty: str, minority: float) -> None:
    dare = Dare(eps=0, alpha=0.5, tau=0, uncertainty=uncertainty)  # type: ignore[arg-type]
    rewards = dare.estimate(["A"] * 3 + ["B"], [0.5] * 3 + [2.0]).rewards
    assert rewards == near(*[0.985577] * 3, minority)


def test_dare_tiny_eps_lets_one_certain_rollout_win() -> None:
    answers, entropies = ["A"] * 7 + ["B"], [0.35] * 7 + [0.0]
    shares = [
        Dare(eps=eps, alpha=0, tau=0).estimate(answers, entropies).rewards[7]
        for eps in (1e-8, 0.01, 0.1)
    ]
    assert shares == pytest.approx([0.9999995, 0.8372, 0.3913], abs=1e-3)


def test_dare_over_rollouts_ranks_the_minority_above_the_majority() -> None:
    answers, entropies = ["A"] * 6 + ["B"] * 2, [0.3] * 8
    rewards = Dare(eps=0, alpha=0.5, tau=0, normalise="rollouts").estimate(answers, entropies)
    # weights 20 and 6.667; sum over rollouts 6*20 + 2*6.667 = 133.33; p = .15, .05
    # bonus .25*.7 = .175 and .75*.7 = .525; r = .15 + .0875, .05 + .2625
    assert rewards.rewards == near(*[0.2375] * 6, *[0.3125] * 2)


def test_dare_drops_pruned_rollouts_from_the_advantage() -> None:
    estimate = Dare(eps=0, alpha=0.1, tau=0.1, pruned="drop").estimate(ANSWERS, ENTROPIES)
    assert list(estimate.kept) == [0, 1, 2, 3, 4, 5, 6]


def test_dare_skips_a_group_of_which_nothing_survives() -> None:
    estimate = Dare(tau=0.9).estimate(["A", "B"], [0.1, 0.1])
    assert (estimate.label, estimate.rewards) == (None, [0, 0])


def test_dare_needs_entropies() -> None:
    with pytest.raises(ValueError, match="entropy"):
        Dare().estimate(["A"], None)
    with pytest.raises(ValueError, match="finite"):
        Dare().estimate(["A", "B"], [float("nan"), 0.1])


def test_dare_equals_majority_when_pruning_leaves_one_answer() -> None:
    dare = Dare(eps=0.05, alpha=0.5, tau=0.5).estimate(["A"] * 5 + ["B"] * 3, [0.3] * 8)
    assert grpo(dare.rewards) == near(*grpo(Majority().estimate(["A"] * 5 + ["B"] * 3).rewards))


answers = st.lists(st.sampled_from(["1", "2", "0.5", None]), min_size=2, max_size=16)


@given(answers, st.randoms(), st.sampled_from(["majority", "dare"]))
def test_rewards_follow_their_rollouts_when_these_are_shuffled(rows, random, name) -> None:
    entropies = {None: 0.1, "1": 0.2, "2": 0.7, "0.5": 1.5}
    order = random.sample(range(len(rows)), len(rows))

    def rewards(answers_in_order):
        given = [entropies[a] for a in answers_in_order]
        estimator = Dare() if name == "dare" else Majority()
        return estimator.estimate(answers_in_order, given).rewards

    votes = sorted((rows.count(a) for a in {a for a in rows if a}), reverse=True)
    if name == "majority" and len(votes) > 1 and votes[0] == votes[1]:
        return  # a tie goes to the first, by definition
    straight = rewards(rows)
    assert rewards([rows[i] for i in order]) == pytest.approx([straight[i] for i in order])


@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=12).filter(lambda r: max(r) - min(r) > 0.1),
    st.floats(0.5, 5),
    st.floats(-5, 5),
)
def test_standardised_advantages_ignore_scale_and_shift(rewards, scale, shift) -> None:
    moved = [scale * reward + shift for reward in rewards]
    assert grpo(moved) == pytest.approx(grpo(rewards), abs=1e-3)


@pytest.mark.parametrize("name", ADVANTAGES)
def test_equal_rewards_have_no_advantage(name: str) -> None:
    assert ADVANTAGES[name]([1.0, 1.0, 1.0]) == [0.0, 0.0, 0.0]
    assert ADVANTAGES[name]([1.0]) == [0.0]
