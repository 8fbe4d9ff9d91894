"""The server's Prometheus metrics. docs/metrics.md is generated from this file."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from adapter.store.judgement import Step, StepVerdict
from rewards.answers.kinds import ANSWER_KINDS
from server.policy.reasons import OUTCOMES, VOTES, Refusal
from server.policy.stats import PolicyStats
from server.rolling import WINDOW, RollingMean, RollingQuantiles

disable_created_metrics()  # they double the series, and nobody reads them

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_OVERHEAD = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_ROLLING = f"over the last {WINDOW}"
_LIVE = f"{_ROLLING} voted queries under the live version; no value before the first"

ACCURACIES = ("maj", "avg", "label", "reward")


class ServerMetrics:
    """All metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._counter = partial(Counter, registry=self.registry)
        self._gauge = partial(Gauge, registry=self.registry)
        self._histogram = partial(Histogram, registry=self.registry, buckets=_SECONDS)
        self.latency = RollingQuantiles()
        """Seconds of completions, whatever their status; for the live page."""
        self._define_requests()
        self._define_votes()
        self._define_data()
        self._define_promotion()

    def _define_requests(self) -> None:
        self._requests = self._counter(
            "ratchet_requests", "Requests answered, by route and HTTP status.", ["route", "status"]
        )
        self._request_seconds = self._histogram(
            "ratchet_request_seconds",
            "Seconds from a request's first byte to its reply's last, by route.",
            ["route"],
        )
        self.connections_refused = self._counters(
            "ratchet_connections_refused",
            "Connections hung up on before a whole request had come, by what was wrong.",
            "what",
            Refusal,
        )
        self.in_flight = self._gauge("ratchet_requests_in_flight", "Requests under way.")
        self.overhead_seconds = self._histogram(
            "ratchet_overhead_seconds",
            "Seconds of a completion in which it did not wait for the engine (of a stream: until "
            "its first byte), as in the header x-ratchet-overhead-ms.",
            buckets=_OVERHEAD,
        )
        self.load = self._gauge(
            "ratchet_load_ratio", "Estimated tokens under way, as a share of `capacity_tokens`."
        )
        self.shed = self._counters(
            "ratchet_shed",
            "Requests cut for lack of room, by what is cut: `recording`, extra `rollouts`, or the "
            "whole request (`requests`, a 503).",
            "what",
            ("recording", "rollouts", "requests"),
        )
        self.quota_refusals = self._counter(
            "ratchet_quota_refusals", "Requests refused (429) because their key was over its quota."
        )
        self.tokens = self._counters(
            "ratchet_tokens",
            "Tokens by purpose. `answer`: prompts and completions for clients, as "
            "`usage.total_tokens` and quotas count them, and by estimate those of what is broken "
            "off. Completions drawn besides: `learning` for the learner, `judging` for the "
            "gate. `probing`: tokens scored to compare engine and trainer.",
            "purpose",
            ("answer", "learning", "judging", "probing"),
        )
        self.engine_up = self._gauge(
            "ratchet_engine_up", "1 while an engine replica answers its probes.", ["replica"]
        )

    def _define_votes(self) -> None:
        self.votes = self._counters(
            "ratchet_votes",
            "Voted queries, by outcome: `answered`; `no_consensus` where no answer had the support "
            "that it needs; `medoid` where the replies are prose; `no_answer` where no rollout had "
            "one.",
            "outcome",
            VOTES,
        )
        self.kinds = self._counters(
            "ratchet_votes_by_kind",
            "Voted queries, by the kind of answer that was voted on (docs/answers.md).",
            "kind",
            sorted(ANSWER_KINDS),
        )
        self.votes_early = self._counter(
            "ratchet_votes_early",
            "Voted queries replied to before their last rollout was in, since it could not change "
            "the answer any more.",
        )
        self.rollouts = self._counter("ratchet_rollouts", "Rollouts finished for votes.")
        self.rollouts_spared = self._counter(
            "ratchet_rollouts_spared",
            "Rollouts never drawn, or aborted, because the vote was decided and the learner did "
            "not want them.",
        )
        self.top_ups = self._counter(
            "ratchet_top_up_rollouts", "Rollouts drawn for the learner alone, on an idle engine."
        )
        self.prompt_tokens = self._counter(
            "ratchet_prompt_tokens", "Tokens of voted queries' prompts, once a query."
        )
        self.completion_tokens = self._counter(
            "ratchet_completion_tokens", "Tokens of all rollouts finished for votes."
        )
        self.answered_tokens = self._counter(
            "ratchet_answered_tokens",
            "Tokens of the replies to voted queries, of all that was generated for them.",
        )
        self.agreement = RollingMean(
            self._gauge(
                "ratchet_agreement_ratio",
                f"Share of pairs of a first wave's rollouts that agree, mean {_ROLLING} voted "
                "queries with an answer; the winner's share with `vote_confidence` 1.",
            ),
            self._gauge(
                "ratchet_agreement_queries",
                f"Queries behind ratchet_agreement_ratio, {WINDOW} at most.",
            ),
        )
        accuracy = self._gauge(
            "ratchet_accuracy_ratio",
            f"Means {_ROLLING} answers that got feedback, by kind. `maj`: rolling maj@n, the "
            "majority of the rollouts was right; `avg`: rolling avg@n, share of right rollouts; "
            "`label`: the answer given was right; `reward`: reward accuracy, share of rollouts "
            "whose 0/1 reward under the estimated label is that under the true one (TTRL, arXiv "
            "2504.16084, section 4.2). No series before the first feedback.",
            ["kind"],
        )
        answers = self._gauge(
            "ratchet_accuracy_answers",
            f"Answers with feedback behind ratchet_accuracy_ratio, {WINDOW} at most. Feedback that "
            "only says `correct: false` shows nothing of single rollouts, so `avg` and `reward` "
            "may have fewer.",
            ["kind"],
        )
        self.accuracy = {kind: RollingMean(accuracy, answers, kind) for kind in ACCURACIES}
        self.feedback = self._counter(
            "ratchet_feedback", "Labels and verdicts received on answers, first ones."
        )

    def _define_data(self) -> None:
        self.groups = self._counters(
            "ratchet_groups_offered",
            "Groups that were to be recorded, by what became of them: "
            + ", ".join(f"`{outcome}`" for outcome in OUTCOMES)
            + ".",
            "outcome",
            OUTCOMES,
        )
        self.recorder_groups = self._gauge(
            "ratchet_recorder_groups", "Groups in memory that wait for Redis."
        )
        self.top_up_groups = self._gauge(
            "ratchet_top_up_groups", "Groups in memory that wait for more rollouts."
        )
        self.buffer_groups = self._gauge(
            "ratchet_buffer_groups",
            "Groups in Redis that the learner has not trained on, dropped or dead-lettered.",
        )
        self.buffer_bytes = self._gauge("ratchet_buffer_bytes", "Bytes of those groups.")
        self.buffer_oldest_seconds = self._gauge(
            "ratchet_buffer_oldest_seconds",
            "Age of the oldest of those groups by Redis' clock; 0 if there is none.",
        )
        self.buffer_expired = self._counter(
            "ratchet_buffer_expired",
            "Groups found by this server to have waited longer than `retention_seconds`.",
        )
        self.buffer_up = self._gauge(
            "ratchet_buffer_up", "1 if Redis answered the last check, made every second."
        )

    def _define_promotion(self) -> None:
        self.live_version = self._gauge(
            "ratchet_live_version", "Version this server answers with; 0 is base."
        )
        self.unjudged_version = self._gauge(
            "ratchet_unjudged_version",
            "Version this server answers with what no trial sees, single requests and prose: the "
            "live one, or 0 (base) while the guards have found that it does harm there.",
        )
        self.recorded_version = self._gauge(
            "ratchet_recorded_version",
            "Version that is live on record: what the server answers with if it can be loaded.",
        )
        self.paused = self._gauge(
            "ratchet_candidates_paused", "1 while candidates wait to be resumed."
        )
        self.verdicts = self._counter(
            "ratchet_gate_verdicts",
            "Candidates judged by this server, by verdict (`promoted`, `rejected`) and by the step "
            "that decided: `files`, `parity`, `trial`, `guards`, `canary`, or `lineage` (its "
            "parent was no longer live).",
            ["verdict", "step"],
        )
        for step in (Step.LINEAGE, Step.FILES, Step.PARITY, Step.TRIAL, Step.GUARDS, Step.CANARY):
            self.verdicts.labels("rejected", step)
        for step in (Step.TRIAL, Step.GUARDS, Step.CANARY):
            self.verdicts.labels("promoted", step)
        self.difference = self._gauge(
            "ratchet_gate_difference",
            "Mean score of the last candidate minus its reference's in the trial, -1 to 1, against "
            "`parent`, `base`, or its parent by the operator's `labels`.",
            ["against"],
        )
        self.swap_seconds = self._histogram(
            "ratchet_swap_seconds",
            "Seconds of a candidate by stage: `wait` (until judged), `load`, `parity`, `gate` (the "
            "trial), `guards`, `canary`, `flip`, and `total` from publication to the decision to "
            "promote.",
            ["stage"],
        )
        self.rollbacks = self._counter(
            "ratchet_rollbacks",
            "Live versions that this server rolled back: a trial proved them worse after live "
            "traffic looked it, or all trials together that the lineage is worse than its best "
            "version.",
        )
        self._live = {
            "margin": self._gauge(
                "ratchet_live_margin_ratio",
                f"Winner's lead over the runner-up as a share of the rollouts, mean {_LIVE}.",
            ),
            "valid": self._gauge(
                "ratchet_live_answering_ratio",
                f"Share of rollouts with an answer (truncated or looping ones have none), {_LIVE}.",
            ),
            "diversity": self._gauge(
                "ratchet_live_diversity_ratio",
                "Effective number of distinct winning answers, e^entropy, over the number of "
                f"queries, {_LIVE}. A collapse lowers it while agreement rises.",
            ),
            "length": self._gauge(
                "ratchet_live_rollout_tokens", f"Tokens of a rollout, mean {_LIVE}."
            ),
        }

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request with its reply's status and its seconds."""
        self._requests.labels(route, status).inc()
        self._request_seconds.labels(route).observe(seconds)
        if route.endswith("completions"):
            self.latency.add(seconds)

    def live(self, stats: PolicyStats | None) -> None:
        """Show how the live version answers; None if it has not yet."""
        numbers = {} if stats is None else stats.numbers()
        for name, gauge in self._live.items():
            gauge.set(numbers.get(name, math.nan))

    def judged(self, steps: Sequence[StepVerdict], *, promoted: bool) -> None:
        """Count a candidate that the last of these steps decided."""
        self.verdicts.labels("promoted" if promoted else "rejected", steps[-1].step).inc()
        for verdict in steps:
            self.swap_seconds.labels(verdict.stage).observe(verdict.seconds)
            for name in ("parent", "base", "labels"):
                if (mean := verdict.numbers.get(f"against_{name}/mean")) is not None:
                    self.difference.labels(name).set(mean)
        if promoted:
            self.swap_seconds.labels("total").observe(sum(v.seconds for v in steps))

    def expose(self) -> bytes:
        """The exposition text of /metrics."""
        return generate_latest(self.registry)

    def _counters(
        self, name: str, documentation: str, label: str, values: Iterable[str]
    ) -> Mapping[str, Counter]:
        """A counter for each value of its one label, at zero from the start: a series that appears
        with its first event would show no increase for it."""
        counter = self._counter(name, documentation, [label])
        return {value: counter.labels(value) for value in values}
