"""Describes a batch of scored groups in the names that TRL's GRPOTrainer uses."""

import statistics
from collections.abc import Sequence

from rewards.estimators.estimate import ScoredGroup


def batch_metrics(batch: Sequence[ScoredGroup], reward: str, flat: int) -> dict[str, float]:
    """Lengths, rewards and votes of at least one group; `reward` names the estimator.

    `flat` groups were read for this batch but left out, because their rewards were all equal.
    Lengths are in tokens; a completion is clipped if it ended at its limit. `num_tokens` counts
    this batch alone, a prompt once for each of its completions; `completions/tokens` has none of
    the prompts'. Standard deviations are unbiased.
    """
    rollouts = [rollout for scored in batch for rollout in scored.group.rollouts]
    lengths = [len(rollout.token_ids) for rollout in rollouts]
    ended = [len(r.token_ids) for r in rollouts if r.finish_reason != "length"]
    prompts = sum(len(s.group.prompt_ids) * len(s.group.rollouts) for s in batch)
    estimates = [scored.estimate for scored in batch]
    rewards = [value for estimate in estimates for value in estimate.rewards]
    mean, std = statistics.fmean(rewards), statistics.stdev(rewards) if len(rewards) > 1 else 0.0
    return {
        "num_tokens": float(prompts + sum(lengths)),
        "completions/tokens": float(sum(lengths)),
        **_lengths("length", lengths),
        **_lengths("terminated_length", ended),
        "completions/clipped_ratio": 1 - len(ended) / len(rollouts),
        "reward": mean,
        "reward_std": std,
        f"rewards/{reward}/mean": mean,
        f"rewards/{reward}/std": std,
        "frac_reward_zero_std": flat / (flat + len(batch)),
        **{
            name: statistics.fmean(estimate.stats[name] for estimate in estimates)
            for name in estimates[0].stats
        },
    }


def _lengths(name: str, lengths: Sequence[int]) -> dict[str, float]:
    found = lengths or [0]
    return {
        f"completions/mean_{name}": statistics.fmean(found),
        f"completions/min_{name}": float(min(found)),
        f"completions/max_{name}": float(max(found)),
    }
