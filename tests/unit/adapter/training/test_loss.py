"""Losses by hand, one token or one short sequence at a time."""

import math
from dataclasses import replace

import pytest
import torch

from adapter.trainer import Loss
from adapter.training.loss import (
    LOSSES,
    BatchSize,
    LossLimits,
    Scores,
    batch_loss,
    effective_sample_size,
    kept_tokens,
    kl_k3,
)
from adapter.training.token_scores import PromptBatch, TokenSequence, micro_batches

LIMITS = LossLimits(low=0.2, high=0.28, importance_cap=2.0, kl_coefficient=0.0)
TOKEN_MASK = replace(LIMITS, importance_mask=8.0)
ONE = BatchSize(tokens=1, sequences=1, capacity=1)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def loss(
    name: str, ratio: float, advantage: float, *, raw: float = 1.0, kl: float = 0.0,
    size: BatchSize = ONE,
) -> float:  # fmt: skip
    """Of one token whose new/old is `ratio` and whose old/engine is `raw`; base gave it 1/e."""
    old = tensor(-1.0)
    scores = Scores(
        new=old + math.log(ratio), old=old, engine=old - math.log(raw), base=tensor(-1.0),
        advantage=tensor(advantage), lengths=[1],
    )  # fmt: skip
    return float(batch_loss(name, scores, replace(TOKEN_MASK, kl_coefficient=kl), size))


def test_every_loss_that_settings_accept_is_there() -> None:
    assert list(LOSSES) == list(Loss)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "gspo"])
@pytest.mark.parametrize(
    ("ratio", "advantage", "surrogate"),
    [
        (1.0, 2.0, 2.0),
        (1.5, 2.0, 2.56),  # clipped at 1.28
        (0.5, 2.0, 1.0),  # not clipped: already worse
        (1.5, -2.0, -3.0),  # not clipped: pessimistic
        (0.5, -2.0, -1.6),  # clipped at 0.8
    ],
)
def test_clipped_surrogate(name: str, ratio: float, advantage: float, surrogate: float) -> None:
    assert loss(name, ratio, advantage) == pytest.approx(-surrogate)


@pytest.mark.parametrize("name", ["grpo", "gspo"])
@pytest.mark.parametrize(
    ("raw", "weight"),
    [(0.5, 0.5), (1.0, 1.0), (1.9, 1.9), (7.9, 2.0), (8.1, 0.0), (0.126, 0.126), (0.124, 0.0)],
)
def test_importance_weights_are_truncated_and_masked(name: str, raw: float, weight: float) -> None:
    assert loss(name, 1.0, 3.0, raw=raw) == pytest.approx(-3.0 * weight)


def test_log_probability_losses() -> None:
    # new = -1 + ln 1.5 = -.594535; cispo's weight stops at 1.28
    assert loss("reinforce", 1.5, 2.0) == pytest.approx(2 * 0.594535, abs=1e-6)
    assert loss("reinforce", 1.5, 2.0, raw=4.0) == pytest.approx(4 * 0.594535, abs=1e-6)
    assert loss("cispo", 1.5, 2.0) == pytest.approx(1.28 * 2 * 0.594535, abs=1e-6)
    assert loss("cispo", 0.5, 2.0) == pytest.approx(0.5 * 2 * 1.693147, abs=1e-6)


def test_what_a_batch_is_divided_by() -> None:
    size = BatchSize(tokens=10, sequences=4, capacity=40)
    parts = {name: loss(name, 1.0, 1.0, size=size) for name in LOSSES}
    assert parts == pytest.approx(
        {"grpo": -0.1, "dr_grpo": -0.025, "cispo": 0.1, "gspo": -0.25, "reinforce": 0.1}
    )


def test_gspo_compares_whole_sequences() -> None:
    # two tokens with ratios 2 and 1/2: the geometric mean is 1, and nothing is clipped
    old = tensor(-1.0, -1.0)
    new = old + tensor(math.log(2), -math.log(2))
    scores = Scores(new=new, old=old, engine=old, base=old, advantage=tensor(1.0), lengths=[2])
    limits = replace(LIMITS, low=3e-4, high=4e-4)
    assert float(batch_loss("gspo", scores, limits, ONE)) == pytest.approx(-1.0)
    assert float(batch_loss("grpo", scores, limits, ONE)) == pytest.approx(-(1.0004 + 0.5))


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_of_an_on_policy_step_is_minus_advantage(name: str) -> None:
    new = torch.tensor([-1.0, -2.0], requires_grad=True)
    still = new.detach()
    scores = Scores(
        new=new, old=still, engine=still, base=still, advantage=torch.tensor([0.5, -1.5]),
        lengths=[1, 1],
    )  # fmt: skip
    batch_loss(name, scores, LIMITS, ONE).backward()
    assert new.grad is not None
    assert new.grad.tolist() == pytest.approx([-0.5, 1.5])


def test_k3_by_hand() -> None:
    # base twice as likely: 2 - ln 2 - 1
    assert float(kl_k3(tensor(-1.0), tensor(-1.0 + math.log(2)))) == pytest.approx(1 - math.log(2))
    assert float(kl_k3(tensor(-1.0), tensor(-1.0))) == 0.0
    # new twice as likely as base: 1/2 + ln 2 - 1
    size = BatchSize(tokens=5, sequences=1, capacity=1)
    assert loss("gspo", 2.0, 0.0, kl=0.1, size=size) == pytest.approx(0.1 * (math.log(2) - 0.5) / 5)


def test_one_token_cannot_dominate_the_kl() -> None:
    # e^5 - 5 - 1 = 142.4, of which 10 counts; base certain that the token cannot be: 12 - 1 + e^-12
    values = kl_k3(tensor(-6.0, -0.5, -90.0), tensor(-1.0, -6.0, -0.5))
    assert values.tolist() == pytest.approx([10.0, math.exp(-5.5) + 4.5, 10.0])
    assert kl_k3(tensor(-0.1), tensor(-200.0)).tolist() == [10.0]


def off_policy() -> Scores:
    """Three sequences; old/engine is 1, 10 and 1/10 | 4 and 2 | 0.9, one value a token."""
    ratios = tensor(1.0, 10.0, 0.1, 4.0, 2.0, 0.9)
    old = torch.full((6,), -3.0, dtype=torch.float64)
    new = (old + math.log(1.1)).requires_grad_()
    return Scores(
        new=new, old=old, engine=old - ratios.log(), base=old,
        advantage=tensor(1.0, 1.0, 1.0), lengths=[3, 2, 1],
    )  # fmt: skip


MASKING = replace(LIMITS, importance_mask=8.0, sequence_mask=2.0)


def test_what_is_masked() -> None:
    # geometric means of the sequences: 1, sqrt 8 = 2.83, 0.9
    kept, whole = kept_tokens(off_policy(), MASKING)
    assert kept.tolist() == [True, False, False, False, False, True]
    assert whole.tolist() == [True, False, True]
    assert all(kept.all() for kept in kept_tokens(off_policy(), LIMITS))  # no bounds
    kept, whole = kept_tokens(off_policy(), replace(MASKING, sequence_mask=3.0))
    assert (kept.tolist()[3:], whole.tolist()) == ([True] * 3, [True] * 3)


@pytest.mark.parametrize("name", LOSSES)
def test_masked_tokens_have_no_gradient_not_even_of_the_kl(name: str) -> None:
    scores = off_policy()
    limits = replace(MASKING, kl_coefficient=0.5)
    batch_loss(name, scores, limits, BatchSize(6, 3, 6)).backward()
    assert scores.new.grad is not None
    assert [bool(value) for value in scores.new.grad] == [True, False, False, False, False, True]


def test_losses_over_what_is_left() -> None:
    size = BatchSize(tokens=6, sequences=3, capacity=12)
    found = {name: float(batch_loss(name, off_policy(), MASKING, size).detach()) for name in LOSSES}
    # the tokens left have weights 1 and 0.9 and new/old 1.1; new = -3 + ln 1.1 = -2.904690
    assert found == pytest.approx(
        {
            "grpo": -1.1 * 1.9 / 6,
            "dr_grpo": -1.1 * 1.9 / 12,
            "cispo": 1.1 * 1.9 * 2.904690 / 6,
            "gspo": -1.1 * 1.9 / 3,
            "reinforce": 1.9 * 2.904690 / 6,
        },
        rel=1e-6,
    )


def test_effective_sample_size() -> None:
    for weights, size in (([1, 1, 1, 1], 1.0), ([1, 0, 0, 0], 0.25), ([2, 1], 0.9)):
        squares = sum(weight**2 for weight in weights)
        assert effective_sample_size(len(weights), sum(weights), squares) == size


def test_a_batch_holds_each_prompt_once() -> None:
    sequences = [
        TokenSequence([5, 6], [7, 8]),
        TokenSequence([1, 2], [3]),
        TokenSequence([5, 6], [9]),
    ]
    batch = PromptBatch.of(sequences, torch.device("cpu"))
    assert batch.prompts.tolist() == [[5, 6], [1, 2]]
    assert batch.owner.tolist() == [0, 1, 0]
    assert batch.completions.tolist() == [[7, 8], [3, 0], [9, 0]]
    assert batch.real.tolist() == [[True, True], [True, False], [True, False]]
    assert batch.targets.tolist() == [7, 8, 3, 9]
    with pytest.raises(ValueError, match="one length"):
        PromptBatch.of([TokenSequence([1], [2]), TokenSequence([1, 2], [3])], torch.device("cpu"))


def test_micro_batches_hold_the_budget_and_everything_once() -> None:
    rng = torch.Generator().manual_seed(0)
    sequences = [
        TokenSequence(
            [prompt] * (2 + prompt % 2), [0] * int(torch.randint(1, 9, (1,), generator=rng))
        )
        for prompt in range(4)
        for _ in range(5)
    ]
    batches = list(micro_batches([*sequences, TokenSequence([9], [0] * 30)], budget=16))
    assert sorted(index for batch in batches for index in batch) == list(range(21))
    assert [20] in batches  # too long for the budget, so alone
    for batch in batches:
        chosen = [sequences[index] for index in batch if index < 20]
        if len(batch) > 1:
            prompts = {tuple(s.prompt) for s in chosen}
            assert len({len(prompt) for prompt in prompts}) == 1
            padded = len(chosen) * max(len(s.completion) for s in chosen)
            assert padded + sum(map(len, prompts)) <= 16
