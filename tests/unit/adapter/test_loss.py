import math

import pytest
import torch

from adapter.loss import LossLimits, effective_sample_size, kl_k3, token_losses
from adapter.token_scores import PaddedBatch, TokenSequence, micro_batches

LIMITS = LossLimits(low=0.2, high=0.28, importance_cap=2.0, kl_coefficient=0.0)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def losses(new: float, old: float, engine: float, advantage: float, kl: float = 0.0) -> float:
    limits = LossLimits(0.2, 0.28, 2.0, kl)
    zero = tensor(-1.0)
    return float(
        token_losses(tensor(new), tensor(old), tensor(engine), zero, tensor(advantage), limits)[0]
    )


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
def test_clipped_surrogate(ratio: float, advantage: float, surrogate: float) -> None:
    old = -1.0
    assert losses(old + math.log(ratio), old, old, advantage) == pytest.approx(-surrogate)


@pytest.mark.parametrize(("raw", "weight"), [(0.5, 0.5), (1.0, 1.0), (1.9, 1.9), (7.0, 2.0)])
def test_importance_weights_are_truncated(raw: float, weight: float) -> None:
    assert losses(-1.0, -1.0, -1.0 - math.log(raw), 3.0) == pytest.approx(-3.0 * weight)


def test_gradient_of_an_on_policy_step_is_minus_advantage() -> None:
    new = torch.tensor([-1.0, -2.0], requires_grad=True)
    token_losses(
        new, new.detach(), new.detach(), new.detach(), torch.tensor([0.5, -1.5]), LIMITS
    ).sum().backward()
    assert new.grad is not None
    assert new.grad.tolist() == pytest.approx([-0.5, 1.5])


def test_k3_by_hand() -> None:
    # base twice as likely: 2 - ln 2 - 1
    assert float(kl_k3(tensor(-1.0), tensor(-1.0 + math.log(2)))) == pytest.approx(1 - math.log(2))
    assert float(kl_k3(tensor(-1.0), tensor(-1.0))) == 0.0
    assert losses(-1.0, -1.0, -1.0, 0.0, kl=0.1) == 0.0


def test_effective_sample_size() -> None:
    assert effective_sample_size(tensor(1, 1, 1, 1)) == 1.0
    assert effective_sample_size(tensor(1, 0, 0, 0)) == 0.25


def test_padding_marks_exactly_the_positions_before_completion_tokens() -> None:
    batch = PaddedBatch.of(
        [TokenSequence([5, 6], [7, 8]), TokenSequence([9], [10])], torch.device("cpu")
    )
    assert batch.ids.tolist() == [[5, 6, 7, 8], [9, 10, 0, 0]]
    assert batch.attention.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.predicts.tolist() == [[False, True, True, False], [True, False, False, False]]
    assert batch.targets.tolist() == [7, 8, 10]


def test_micro_batches_hold_the_budget_and_everything_once() -> None:
    lengths = [5, 1, 9, 3, 3, 20, 2]
    batches = list(micro_batches(lengths, budget=12))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert longest * len(batch) <= 12 or len(batch) == 1
