"""One update of the trainer, and its batch in the names that TRL's GRPOTrainer uses."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from adapter.learner.lineage import Lineage
from adapter.learner.scoring import Scoring
from adapter.store.releases import ReleaseStore
from adapter.trainer import Trainer, TrainerThread
from rewards.estimators.estimate import ScoredGroup
from rewards.rollouts import RolloutGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Scores groups one by one, then trains on all of a batch."""

    releases: ReleaseStore
    trainer: TrainerThread
    lineage: Lineage
    scoring: Scoring

    async def score(self, group: RolloutGroup, dry_run: bool) -> ScoredGroup:
        """Rewards of a group. With `dry_run`, does the work of an update on it alone as well."""

        def work(trainer: Trainer) -> ScoredGroup:
            scored = self.scoring.score(group, trainer)
            if dry_run and scored.estimate.informative:
                trainer.dry_run(self.scoring.advantages([scored]))
            return scored

        return await self.trainer.do(work)

    async def train(self, batch: Sequence[ScoredGroup], flat: int) -> dict[str, float]:
        """Train on a batch, for which `flat` groups were left out. Returns the update's metrics.
        Raises UpdateDiverged."""
        groups = self.scoring.advantages(batch)
        metrics = await self.trainer.do(lambda trainer: trainer.update(groups))
        described = batch_metrics(batch, self.scoring.name, flat)
        if self.lineage.tip:  # counted over the whole lineage
            parent = await self.releases.get(self.lineage.tip)
            described["num_tokens"] += parent.metrics.get("num_tokens", 0.0)
        lags = [self.lineage.lag(scored.group.policy_version) or 0 for scored in batch]
        return {**metrics, **described, "lag": statistics.fmean(lags)}


def batch_metrics(batch: Sequence[ScoredGroup], reward: str, flat: int) -> dict[str, float]:
    """Lengths, rewards and votes of at least one group; `reward` names the estimator.

    `flat` groups were read for this batch but left out, because their rewards were all equal.
    Lengths are in tokens; a completion is clipped if it ended at its limit. `num_tokens` counts
    this batch alone, a prompt once for each of its completions. Standard deviations are unbiased.
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
