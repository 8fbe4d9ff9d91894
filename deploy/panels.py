"""What the dashboards show: panels of PromQL queries, by dashboard and row.

Averages over servers are of ratios that each server keeps over its own last queries; counters are
summed. What happens every few minutes or less is counted over the range shown, or an hour: a rate
over a minute would be zero nearly always. `vllm:` metrics are the engine's own
(vllm/v1/metrics/loggers.py of vLLM 0.32).
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

RATIO, SECONDS, BYTES, PLAIN, PER_SECOND = "percentunit", "s", "bytes", "short", "reqps"


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph: (query, legend) pairs in one unit; `wide` takes a row of its own."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = PLAIN
    note: str = ""
    _: KW_ONLY
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard, of rows of panels."""

    name: str
    title: str
    rows: Sequence[tuple[str, Sequence[Panel]]]


def _quantiles(metric: str, by: str = "", over: str = "$__rate_interval") -> list[tuple[str, str]]:
    group, legend = (f"le, {by}", f" {{{{{by}}}}}") if by else ("le", "")
    rate = f"sum by ({group}) (rate({metric}_bucket[{over}]))"
    return [(f"histogram_quantile({q}, {rate})", f"p{int(q * 100)}{legend}") for q in (0.5, 0.95)]


def _rate(metric: str, by: str = "") -> tuple[str, str]:
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate({metric}[$__rate_interval]))", f"{{{{{by}}}}}" if by else metric


def _events(metric: str, legend: str, by: str = "") -> tuple[str, str]:
    """How often something rare has happened in the range shown: the legend's last value."""
    group = f" by ({by})" if by else ""
    return f"sum{group} (increase({metric}[$__range]))", legend


def _spent(metric: str) -> str:
    return f"sum(rate({metric}[$__rate_interval]))"


_ANSWERED = _spent("ratchet_answered_tokens_total")
_PURPOSES = (
    ("votes", "ratchet_completion_tokens_total"),
    ("learning", 'ratchet_tokens_total{purpose="learning"}'),
    ("judging", 'ratchet_tokens_total{purpose="judging"}'),
)

LEARNING = Board("learning", "Ratchet: learning", [
    ("Is it getting better?", [
        Panel("Rolling agreement and accuracies", [
            ("avg(ratchet_agreement_ratio)", "agreement"),
            ('avg(ratchet_accuracy_ratio{kind="maj"})', "maj@n"),
            ('avg(ratchet_accuracy_ratio{kind="avg"})', "avg@n"),
            ('avg(ratchet_accuracy_ratio{kind="label"})', "label accuracy"),
            ('avg(ratchet_accuracy_ratio{kind="reward"})', "reward accuracy"),
        ], RATIO, "Agreement needs no labels and rises in a collapse too: read it with diversity. "
           "Accuracies show where feedback tells the truth.", wide=True),
        Panel("Answers with feedback behind the accuracies", [
            ("sum by (kind) (ratchet_accuracy_answers)", "{{kind}}"),
        ], note="256 at most a server. Few of them make a wide guess."),
        Panel("Live version", [
            ("max(ratchet_live_version)", "answering"),
            ("max(ratchet_unjudged_version)", "answering what no trial sees"),
            ("max(ratchet_recorded_version)", "on record"),
        ], note="They differ while a server cannot load what is live on record."),
    ]),
    ("What an answer costs", [
        Panel("Generated tokens for each token of an answer", [
            (f"{_spent(name)} / {_ANSWERED}", purpose) for purpose, name in _PURPOSES
        ], note="For votes, learning and judging. Falls as questions come to need fewer rollouts."),
        Panel("Rollouts of a vote", [
            ("sum(rate(ratchet_rollouts_total[$__rate_interval]))"
             " / sum(rate(ratchet_votes_total[$__rate_interval]))", "rollouts"),
        ]),
    ]),
    ("The gate", [
        Panel("Verdicts in the range shown", [
            _events("ratchet_gate_verdicts_total", "{{verdict}} by {{step}}", "verdict, step"),
            _events("ratchet_rollbacks_total", "rolled back"),
        ], note="Running sums: the last value is the range's."),
        Panel("Last candidate against its references", [
            ("avg by (against) (ratchet_gate_difference)", "against {{against}}"),
        ], note="Mean score difference on the gate's queries; below 0 is worse."),
        Panel("From publication to live", _quantiles("ratchet_swap_seconds", "stage", "1h"),
              SECONDS, "Of the last hour."),
    ]),
    ("Signs of a collapse", [
        Panel("Diversity and answering rollouts", [
            ("avg(ratchet_live_diversity_ratio)", "diversity of answers"),
            ("avg(ratchet_live_answering_ratio)", "rollouts with an answer"),
            ("avg(ratchet_live_margin_ratio)", "margin of the vote"),
        ], RATIO, "A collapse: agreement up, diversity down."),
        Panel("Length", [
            ("avg(ratchet_live_rollout_tokens)", "tokens of a rollout, live"),
            ("max(ratchet_update_completion_tokens)", "tokens of a completion, last update"),
        ]),
        Panel("KL and entropy", [
            ("max(ratchet_update_kl_nats)", "KL to base"),
            ("max(ratchet_update_entropy_nats)", "entropy"),
        ], note="Nats per token."),
    ]),
    ("Updates", [
        Panel("Loss and gradient", [
            ("max(ratchet_update_loss)", "loss"),
            ("max(ratchet_update_grad_norm)", "gradient norm"),
        ]),
        Panel("Rewards", [
            ("max(ratchet_update_reward_mean)", "mean"),
            ("max(ratchet_update_reward_std)", "standard deviation"),
            ("max(ratchet_update_majority_ratio)", "majority ratio"),
            ("max(ratchet_update_flat_ratio)", "flat groups left out"),
        ]),
        Panel("Trainer against engine", [
            ("max(ratchet_update_importance_ratio_mean)", "importance ratio, mean"),
            ("max(ratchet_update_importance_ratio_max)", "importance ratio, largest"),
            ("max(ratchet_update_effective_sample_ratio)", "effective sample size"),
            ("max(ratchet_update_importance_capped_ratio)", "capped"),
            ("max(ratchet_update_importance_masked_ratio)", "masked"),
            ("max(ratchet_update_dropped_rollouts_ratio)", "rollouts dropped"),
            ("max(ratchet_update_clip_ratio)", "clipped"),
        ]),
        Panel("Staleness", [("max(ratchet_update_lag_versions)", "versions behind")]),
        Panel("Seconds of an update", _quantiles("ratchet_update_seconds", "stage", "1h"),
              SECONDS, "Of the last hour."),
        Panel("Updates in the range shown", [
            _events("ratchet_updates_total", "{{verdict}}", "verdict"),
            _events("ratchet_updates_diverged_total", "diverged"),
            _events("ratchet_learner_out_of_memory_total", "out of memory"),
        ], note="Running sums: the last value is the range's."),
    ]),
])  # fmt: skip

_COMPLETIONS = 'route=~".*completions"'

SERVING = Board("serving", "Ratchet: serving", [
    ("Requests", [
        Panel("Requests by status", [
            _rate(f"ratchet_requests_total{{{_COMPLETIONS}}}", "status"),
        ], PER_SECOND),
        Panel("Errors, share of completions", [
            (f'sum(rate(ratchet_requests_total{{{_COMPLETIONS},status=~"5.."}}[$__rate_interval])) '
             f"/ sum(rate(ratchet_requests_total{{{_COMPLETIONS}}}[$__rate_interval]))", "5xx"),
            (f'sum(rate(ratchet_requests_total{{{_COMPLETIONS},status=~"4.."}}[$__rate_interval])) '
             f"/ sum(rate(ratchet_requests_total{{{_COMPLETIONS}}}[$__rate_interval]))", "4xx"),
        ], RATIO),
        Panel("Latency of completions", _quantiles("ratchet_request_seconds", "route"), SECONDS,
              "From a request's first byte to its reply's last."),
        Panel("Overhead", _quantiles("ratchet_overhead_seconds"), SECONDS,
              "What we add to the engine's own time."),
        Panel("Requests under way", [("sum(ratchet_requests_in_flight)", "in flight")]),
        Panel("Load and what is given up", [
            ("max(ratchet_load_ratio)", "load, share of capacity_tokens"),
            _rate("ratchet_shed_total", "what"),
        ]),
        Panel("Connections hung up on", [
            _rate("ratchet_connections_refused_total", "what"),
        ], PER_SECOND, "Before a whole request had come, by the limit that it went beyond."),
    ]),
    ("Votes", [
        Panel("Votes by outcome", [_rate("ratchet_votes_total", "outcome")], PER_SECOND),
        Panel("Votes by kind of answer", [_rate("ratchet_votes_by_kind_total", "kind")],
              PER_SECOND),
        Panel("Decided early, share of votes", [
            ("sum(rate(ratchet_votes_early_total[$__rate_interval])) "
             "/ sum(rate(ratchet_votes_total[$__rate_interval]))", "before the last rollout"),
        ], RATIO),
        Panel("Rollouts", [
            ("sum(rate(ratchet_rollouts_total[$__rate_interval]))", "for votes"),
            ("sum(rate(ratchet_top_up_rollouts_total[$__rate_interval]))", "for the learner, idle"),
            ("sum(rate(ratchet_rollouts_spared_total[$__rate_interval]))", "spared"),
        ]),
        Panel("Tokens a second", [
            ("sum(rate(ratchet_completion_tokens_total[$__rate_interval]))", "rollouts of votes"),
            ("sum(rate(ratchet_prompt_tokens_total[$__rate_interval]))", "prompts of votes"),
            ('sum(rate(ratchet_tokens_total{purpose="answer"}[$__rate_interval]))',
             "all for clients"),
        ]),
        Panel("Tokens a second by purpose", [_rate("ratchet_tokens_total", "purpose")],
              note="What answers cost, what is drawn besides for the learner and for the gate, and "
                   "what is scored to compare engine and trainer."),
    ]),
    ("The engine", [
        Panel("Sequences in the engine", [
            ("sum by (instance) (vllm:num_requests_running)", "running, {{instance}}"),
            ("sum by (instance) (vllm:num_requests_waiting)", "waiting, {{instance}}"),
        ], note="Clients', the gate's and top-ups'. Clients' come first in the queue, and take no "
                "place from one that runs."),
        Panel("Seconds in the engine's queue", _quantiles("vllm:request_queue_time_seconds"),
              SECONDS),
        Panel("KV cache in use", [
            ("max by (instance) (vllm:kv_cache_usage_perc)", "{{instance}}"),
        ], RATIO),
        Panel("Preemptions in the range shown", [
            _events("vllm:num_preemptions_total", "{{instance}}", "instance"),
        ], note="Sequences that a full KV cache had no room for, and that are computed again."),
        Panel("Tokens a second in the engine", [
            ("sum by (instance) (rate(vllm:generation_tokens_total[$__rate_interval]))",
             "written, {{instance}}"),
            ("sum by (instance) (rate(vllm:prompt_tokens_total[$__rate_interval]))",
             "read, {{instance}}"),
        ]),
    ]),
    ("Processes", [
        Panel("Engine replicas up", [("min by (replica) (ratchet_engine_up)", "{{replica}}")]),
        Panel("Memory", [("process_resident_memory_bytes", "{{job}} {{instance}}")], BYTES),
        Panel("CPU", [("rate(process_cpu_seconds_total[$__rate_interval])",
                       "{{job}} {{instance}}")], note="Cores."),
        Panel("Starts in the range shown", [
            ('sum by (job) (changes(process_start_time_seconds{job=~"ratchet-.*"}[$__range]))',
             "{{job}}"),
        ], note="Of processes that were there before."),
        Panel("Open files", [("process_open_fds", "{{job}} {{instance}}")]),
    ]),
])  # fmt: skip

DATA = Board("data", "Ratchet: data", [
    ("Buffer", [
        Panel("Groups waiting", [
            ("max(ratchet_buffer_groups)", "in Redis"),
            ("sum(ratchet_recorder_groups)", "in servers, for Redis"),
            ("sum(ratchet_top_up_groups)", "in servers, for more rollouts"),
        ]),
        Panel("Age of the oldest", [("max(ratchet_buffer_oldest_seconds)", "oldest")], SECONDS),
        Panel("Size", [("max(ratchet_buffer_bytes)", "groups in Redis")], BYTES),
        Panel("Redis", [("min(ratchet_buffer_up)", "up")]),
    ]),
    ("Where groups go", [
        Panel("Offered by servers", [_rate("ratchet_groups_offered_total", "outcome")],
              PER_SECOND),
        Panel("Settled by the learner in the range shown", [
            _events("ratchet_groups_total", "{{outcome}}", "outcome"),
        ], note="`dead` ones are put aside: they are unreadable, or the learner broke on them. "
                "`dropped:client_quota` and `dropped:near_duplicate` are the limits on influence."),
        Panel("Expired in the range shown", [_events("ratchet_buffer_expired_total", "expired")]),
        Panel("Over their quota", [
            ("sum(rate(ratchet_quota_refusals_total[$__rate_interval]))", "requests turned away"),
        ], PER_SECOND, "By API key, as its line in the key file limits it."),
        Panel("Feedback", [_rate("ratchet_feedback_total")], PER_SECOND),
    ]),
    ("Learner and disk", [
        Panel("Learners that lead", [("sum(ratchet_learner_leading)", "holding the lease")],
              note="1 is right; 0 for long means that nothing is learnt."),
        Panel("Since the last update", [
            ("time() - max(ratchet_update_timestamp_seconds > 0)", "age"),
        ], SECONDS),
        Panel("Disk of the adapters", [
            ("min(ratchet_adapters_disk_free_bytes)", "free"),
        ], BYTES),
        Panel("Candidates held back", [("max(ratchet_candidates_paused)", "paused")]),
    ]),
])  # fmt: skip

BOARDS = (LEARNING, SERVING, DATA)
