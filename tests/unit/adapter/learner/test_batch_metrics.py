import pytest

from adapter.learner.batch_metrics import batch_metrics
from rewards.estimators.estimate import Estimate, ScoredGroup
from rewards.rollouts import Rollout, RolloutGroup, Sampling


def scored(prompt: int, rollouts: list[tuple[int, str]], rewards: list[float]) -> ScoredGroup:
    made = [Rollout("", [0] * length, [0.0] * length, finish) for length, finish in rollouts]
    group = RolloutGroup("g", "p", [0] * prompt, made, 0, Sampling(), "c", 0.0)
    return ScoredGroup(group, Estimate(rewards, "7", range(len(made)), {"majority_ratio": 0.5}))


def test_by_hand() -> None:
    batch = [
        scored(3, [(2, "stop"), (4, "length")], [1.0, 0.0]),
        scored(5, [(6, "stop"), (8, "stop")], [1.0, 0.0]),
    ]
    assert batch_metrics(batch, "dare", flat=3) == pytest.approx(
        {
            "num_tokens": 3 * 2 + 5 * 2 + 20,
            "completions/tokens": 20.0,
            "completions/mean_length": 5.0,
            "completions/min_length": 2.0,
            "completions/max_length": 8.0,
            "completions/mean_terminated_length": 16 / 3,
            "completions/min_terminated_length": 2.0,
            "completions/max_terminated_length": 8.0,
            "completions/clipped_ratio": 0.25,
            "reward": 0.5,
            "reward_std": (4 * 0.25 / 3) ** 0.5,
            "rewards/dare/mean": 0.5,
            "rewards/dare/std": (4 * 0.25 / 3) ** 0.5,
            "frac_reward_zero_std": 3 / 5,
            "majority_ratio": 0.5,
        }
    )


def test_where_every_completion_was_clipped() -> None:
    found = batch_metrics([scored(1, [(4, "length")], [1.0])], "majority", flat=0)
    assert found["completions/mean_terminated_length"] == 0.0
    assert (found["completions/clipped_ratio"], found["reward_std"]) == (1.0, 0.0)
