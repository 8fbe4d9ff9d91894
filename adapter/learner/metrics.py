"""The learner's Prometheus metrics. docs/metrics.md is made from what stands here."""

import math
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import prometheus_client as prometheus

from adapter.store.buffer import Outcome

prometheus.disable_created_metrics()  # they double the series, and nobody needs them

_LAST: Mapping[str, tuple[str, str]] = {
    "loss": ("ratchet_update_loss", "Loss."),
    "kl": ("ratchet_update_kl_nats",
        "k3 estimate of the KL of the policy after the update to base, mean over a sample of the "
        "batch's tokens, of which each counts at most 10; `gate_max_kl` limits it."),
    "entropy": ("ratchet_update_entropy_nats", "Entropy of the next token, mean over tokens."),
    "grad_norm": ("ratchet_update_grad_norm", "Gradient norm before clipping."),
    "learning_rate": ("ratchet_update_learning_rate", "Learning rate used."),
    "reward": ("ratchet_update_reward_mean", "Reward, mean over rollouts."),
    "reward_std": ("ratchet_update_reward_std", "Standard deviation of the rollouts' rewards."),
    "majority_ratio": ("ratchet_update_majority_ratio",
        "Commonest answer's share of the rollouts, mean over groups."),
    "frac_reward_zero_std": ("ratchet_update_flat_ratio",
        "Groups left out because all their rewards were equal, as a share of those read."),
    "completions/mean_length": ("ratchet_update_completion_tokens",
        "Tokens of a completion, mean."),
    "completions/clipped_ratio": ("ratchet_update_clipped_completions_ratio",
        "Share of completions that ended at their token limit."),
    "clip_ratio/region_mean": ("ratchet_update_clip_ratio",
        "Share of tokens whose policy ratio the loss cut off."),
    "sampling/importance_sampling_ratio/mean": ("ratchet_update_importance_ratio_mean",
        "Trainer's over engine's probability of the sampled tokens before the cap, mean."),
    "sampling/importance_sampling_ratio/max": ("ratchet_update_importance_ratio_max",
        "The largest of these ratios."),
    "importance/clipped": ("ratchet_update_importance_capped_ratio",
        "Share of tokens whose ratio is above `importance_cap`."),
    "rollout_corr/rollout_rs_masked_fraction": ("ratchet_update_importance_masked_ratio",
        "Share of tokens without gradient, because their ratio is outside `importance_mask` or "
        "their rollout's mean ratio outside `sequence_mask`."),
    "importance/dropped_sequences": ("ratchet_update_dropped_rollouts_ratio",
        "Share of rollouts left out whole, because their mean ratio is outside `sequence_mask`."),
    "importance/effective_sample_size": ("ratchet_update_effective_sample_ratio",
        "Effective sample size of these ratios as a share of the tokens: (sum w)^2 / (n sum w^2)."),
    "lag": ("ratchet_update_lag_versions",
        "Staleness: versions between the one that sampled a group and the one updated, mean over "
        "groups."),
}  # fmt: skip
"""Numbers of an update by their names in its release, and the gauges that show the last update."""

_SETTLED = [o for o in Outcome if o not in (Outcome.EXPIRED, Outcome.FORGOTTEN)]
"""What the learner settles groups with; the others happen without it."""


class LearnerMetrics:
    """All metrics of one learner, in a registry of their own. The disk of `adapters_dir` is looked
    at on each scrape."""

    def __init__(self, adapters_dir: Path | None = None) -> None:
        r = self.registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=r)
        self.groups = prometheus.Counter(
            "ratchet_groups",
            f"Groups settled by the learner, by outcome: {', '.join(f'`{o}`' for o in _SETTLED)}. "
            "Dead ones are unreadable or broke the learner, unanimous ones have equal rewards, "
            "stale ones are more than `max_lag` versions old, too large ones have a rollout that "
            "does not fit into memory alone.",
            ["outcome"], registry=r,
        )  # fmt: skip
        self.updates = prometheus.Counter(
            "ratchet_updates",
            "Updates published, by the state their version was in once judged: `live` or `retired` "
            "if it was promoted, `rejected` or `withdrawn`.",
            ["verdict"], registry=r,
        )  # fmt: skip
        for outcome in _SETTLED:
            self.groups.labels(outcome)  # else the first one would show as no increase
        for verdict in ("live", "rejected"):
            self.updates.labels(verdict)
        self.diverged = prometheus.Counter(
            "ratchet_updates_diverged",
            "Updates skipped because loss or gradient was not finite.", registry=r,
        )  # fmt: skip
        self.out_of_memory = prometheus.Counter(
            "ratchet_learner_out_of_memory",
            "Times that memory ran out; the learner then halves its micro-batches and goes on.",
            registry=r,
        )  # fmt: skip
        self.seconds = prometheus.Histogram(
            "ratchet_update_seconds",
            "Seconds of an update, by stage: `collect` (waiting for groups and scoring them), "
            "`train`, `publish`, and `verdict` (waiting for the server's).",
            ["stage"], registry=r, buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
        )  # fmt: skip
        self.leading = prometheus.Gauge(
            "ratchet_learner_leading", "1 while this learner holds the lease.", registry=r
        )
        self.updated_at = prometheus.Gauge(
            "ratchet_update_timestamp_seconds",
            "When the last update was published, in seconds since 1970; 0 if none was.",
            registry=r,
        )
        self._last = {
            name: prometheus.Gauge(metric, f"Of the last update. {text}", registry=r)
            for name, (metric, text) in _LAST.items()
        }
        free = prometheus.Gauge(
            "ratchet_adapters_disk_free_bytes",
            "Bytes free on the disk of `adapters_dir`; no value where it cannot be seen.",
            registry=r,
        )
        free.set_function(lambda: _free_bytes(adapters_dir))

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Time a stage of an update; a stage that raises is not counted."""
        started = time.monotonic()
        yield
        self.seconds.labels(name).observe(time.monotonic() - started)

    def updated(self, numbers: Mapping[str, float]) -> None:
        """Show a published update. Numbers without a gauge are in the training log only."""
        self.updated_at.set_to_current_time()
        for name, gauge in self._last.items():
            if name in numbers:
                gauge.set(numbers[name])

    def serve(self, host: str, port: int) -> None:
        """Serve them over HTTP unless port is 0. Raises OSError if the port cannot be opened."""
        if port:
            prometheus.start_http_server(port, host, registry=self.registry)


def _free_bytes(folder: Path | None) -> float:
    if folder is None:
        return math.nan
    folder = folder.absolute()
    there = next((path for path in (folder, *folder.parents) if path.is_dir()), folder)
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return math.nan
