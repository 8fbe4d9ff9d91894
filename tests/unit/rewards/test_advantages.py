import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.advantages import (
    ADVANTAGES,
    advantages_of,
    dr_grpo,
    grpo,
    reinforce,
    reinforce_pp,
    reinforce_pp_baseline,
    rloo,
)
from rewards.estimators.estimate import Estimate


def near(*values: float) -> object:
    return pytest.approx(list(values), abs=1e-6)


def test_grpo_by_hand() -> None:
    # mean 2, std 1 (unbiased)
    assert grpo([[1.0, 2.0, 3.0]], [])[0] == near(-1, 0, 1)
    assert grpo([[1.0, 2.0, 3.0]], [])[0][2] == 1 / (1 + 1e-6)
    assert grpo([[0.0, 1.0]], [])[0] == pytest.approx([-0.707106, 0.707106], abs=2e-6)


def test_the_floor_keeps_noise_small() -> None:
    assert grpo([[0.50, 0.51]], [], 0.05)[0] == near(-0.1 + 2e-6, 0.1 - 2e-6)
    assert grpo([[0.0, 1.0]], [], 0.05) == grpo([[0.0, 1.0]], [])
    assert reinforce_pp([[0.50, 0.51]], [[1, 1]], 0.05)[0] == near(-0.1 + 2e-6, 0.1 - 2e-6)


def test_dr_grpo_and_rloo_by_hand() -> None:
    assert dr_grpo([[1.0, 0.0, 0.0, 1.0], [4.0, 2.0]], []) == [[0.5, -0.5, -0.5, 0.5], [1, -1]]
    # 1 against the mean of (0, 0): 1; 0 against the mean of (1, 0): -.5
    assert rloo([[1.0, 0.0, 0.0]], [])[0] == near(1, -0.5, -0.5)
    assert rloo([[1.0, 0.0]], [])[0] == near(1, -1)


def test_reinforce_has_no_baseline() -> None:
    assert reinforce([[1.0, 0.0], [0.3]], []) == [[1.0, 0.0], [0.3]]


def test_reinforce_pp_by_hand() -> None:
    # 8 tokens, mean .625, variance 1.875/7: std .517549
    whitened = reinforce_pp([[1.0, 0.0], [1.0, 1.0]], [[1, 3], [2, 2]])
    assert whitened[0] == near(0.724568, -1.207613)
    assert whitened[1] == near(0.724568, 0.724568)


def test_reinforce_pp_baseline_by_hand() -> None:
    # centred .5 -.5 0 0; token mean -.125, variance .875/7 = .125: std .353553
    whitened = reinforce_pp_baseline([[1.0, 0.0], [1.0, 1.0]], [[1, 3], [2, 2]])
    assert whitened[0] == near(1.767762, -1.060657)
    assert whitened[1] == near(0.353552, 0.353552)


def test_no_tokens_no_advantage() -> None:
    assert reinforce_pp([[1.0, 0.0]], [[0, 0]]) == [[0.0, 0.0]]
    assert reinforce_pp([[1.0]], [[1]]) == [[0.0]]
    assert reinforce_pp([[1.0, 0.0]], [[1, 1]])[0] == pytest.approx([0.707106, -0.707106], abs=2e-6)


@pytest.mark.parametrize("tokens", [[[1]], [[1, 1, 1]], [[1, 1], [1]], []])
def test_tokens_must_match_rewards(tokens) -> None:
    with pytest.raises(ValueError, match="argument 2"):
        reinforce_pp([[1.0, 0.0]], tokens)


def test_a_batch_needs_tokens_for_each_group() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        advantages_of([Estimate([1.0], "1", [0])], [[1], [1]], grpo)


@pytest.mark.parametrize("name", set(ADVANTAGES) - {"reinforce"})
def test_equal_rewards_have_no_advantage(name: str) -> None:
    assert ADVANTAGES[name]([[1.0, 1.0, 1.0]], [[1, 2, 3]], 0.0) == [[0.0, 0.0, 0.0]]
    assert ADVANTAGES[name]([[1.0]], [[3]], 0.0) == [[0.0]]
    assert ADVANTAGES[name]([[]], [[]], 0.0) == [[]]


rows = st.lists(st.floats(-10, 10), min_size=2, max_size=12).filter(lambda r: max(r) - min(r) > 0.1)


@pytest.mark.parametrize("name", ["grpo", "reinforce_pp", "reinforce_pp_baseline"])
@given(rows=rows, scale=st.floats(0.5, 5), shift=st.floats(-5, 5))
def test_standardised_advantages_ignore_scale_and_shift(name, rows, scale, shift) -> None:
    tokens = [[index + 1 for index in range(len(rows))]]
    moved = [scale * reward + shift for reward in rows]
    before = ADVANTAGES[name]([rows], tokens, 0.0)[0]
    assert ADVANTAGES[name]([moved], tokens, 0.0)[0] == pytest.approx(before, abs=1e-3)


@given(rows=rows)
def test_group_advantages_sum_to_zero(rows) -> None:
    for name in ("grpo", "dr_grpo", "rloo"):
        assert math.fsum(ADVANTAGES[name]([rows], [], 0.0)[0]) == pytest.approx(0, abs=1e-6)


def test_a_batch_keeps_who_was_left_out_and_adds_offsets() -> None:
    batch = [
        Estimate([9.0, 1.0, 0.0], "1", [1, 2]),
        Estimate([0.0, 0.0], None, [0, 1], offset=-1.0),
    ]
    tokens = [[5, 1, 1], [1, 1]]
    assert advantages_of(batch, tokens, dr_grpo) == [[None, 0.5, -0.5], [-1.0, -1.0]]
    assert advantages_of(batch, tokens, dr_grpo, clip=0.25) == [[None, 0.25, -0.25], [-0.25, -0.25]]
    # kept tokens only: values 1 0 0 0 with weight 1 each, mean .25, variance .75/3, std .5
    whitened = advantages_of(batch, tokens, reinforce_pp)
    assert whitened[0][1:] == near(1.499997, -0.499999)
    assert whitened[1] == near(-1.499999, -1.499999)
    assert advantages_of(batch[:1], tokens[:1], grpo, std_floor=1.0)[0][1:] == near(
        0.4999995, -0.4999995
    )
