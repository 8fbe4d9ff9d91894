"""The server's Prometheus metrics. docs/metrics.md is made from what stands here."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from adapter.store.buffer import Append
from adapter.store.judgement import Step, StepVerdict
from server.policy.reasons import Unrecorded
from server.policy.stats import PolicyStats
from server.rolling import WINDOW, RollingMean, RollingQuantiles

disable_created_metrics()  # twice the series, and nobody asks for them

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_OVERHEAD = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_ROLLING = f"over the last {WINDOW}"

ACCURACIES = ("maj", "avg", "label", "reward")
OFFERED = (
    *Append, Unrecorded.RECORDER_FULL, Unrecorded.BUFFER_UNAVAILABLE, Unrecorded.UNUSABLE
)  # fmt: skip


class ServerMetrics:
    """All metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        ProcessCollector(registry=r)
        self.latency = RollingQuantiles()
        """Seconds of completions, whatever their status; for the live page."""
        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._define_requests(r)
        self._define_votes(r)
        self._define_data(r)
        self._define_promotion(r)

    def _define_requests(self, r: CollectorRegistry) -> None:
        self._requests = Counter(
            "ratchet_requests", "Requests answered, by route and HTTP status.",
            ["route", "status"], registry=r,
        )  # fmt: skip
        self._request_seconds = Histogram(
            "ratchet_request_seconds",
            "Seconds from a request's first byte to its reply's last, by route.",
            ["route"], registry=r, buckets=_SECONDS,
        )  # fmt: skip
        self.in_flight = Gauge("ratchet_requests_in_flight", "Requests under way.", registry=r)
        self.overhead_seconds = Histogram(
            "ratchet_overhead_seconds",
            "Seconds of a completion in which it did not wait for the engine (of a stream: until "
            "its first byte), as in the header x-ratchet-overhead-ms.",
            registry=r, buckets=_OVERHEAD,
        )  # fmt: skip
        self.load = Gauge(
            "ratchet_load_ratio",
            "Estimated tokens of the requests under way, as a share of `capacity_tokens`.",
            registry=r,
        )
        shed = Counter(
            "ratchet_shed",
            "Requests for which something was given up for want of room: `recording`, extra "
            "`rollouts`, or all of it (`requests`, a 503).",
            ["what"], registry=r,
        )  # fmt: skip
        self.shed = _each(shed, ("recording", "rollouts", "requests"))
        self.quota_refusals = Counter(
            "ratchet_quota_refusals",
            "Requests turned away (429) because their key was over its quota.",
            registry=r,
        )
        self.tokens = Counter(
            "ratchet_tokens",
            "Tokens of prompts and completions for clients, voted or passed through, as "
            "`usage.total_tokens` and quotas count them; of a stream that is passed through, "
            "one an event.",
            registry=r,
        )
        self.engine_up = Gauge(
            "ratchet_engine_up",
            "1 while an engine replica answers the one-token probe.",
            ["replica"], registry=r,
        )  # fmt: skip

    def _define_votes(self, r: CollectorRegistry) -> None:
        votes = Counter(
            "ratchet_votes",
            "Voted queries, by outcome: `answered`, or `no_answer` where no rollout had one.",
            ["outcome"], registry=r,
        )  # fmt: skip
        self.votes = _each(votes, ("answered", "no_answer"))
        self.votes_early = Counter(
            "ratchet_votes_early",
            "Voted queries replied to before their last rollout was in, since it could not change "
            "the answer any more.",
            registry=r,
        )
        self.rollouts = Counter("ratchet_rollouts", "Rollouts finished for votes.", registry=r)
        self.rollouts_spared = Counter(
            "ratchet_rollouts_spared",
            "Rollouts asked for that were never drawn, or broken off, because the vote was decided "
            "and the learner did not want them.",
            registry=r,
        )
        self.top_ups = Counter(
            "ratchet_top_up_rollouts",
            "Rollouts drawn for the learner alone, while the engine was idle.",
            registry=r,
        )
        self.prompt_tokens = Counter(
            "ratchet_prompt_tokens", "Tokens of voted queries' prompts, once a query.", registry=r
        )
        self.completion_tokens = Counter(
            "ratchet_completion_tokens", "Tokens of all rollouts finished for votes.", registry=r
        )
        self.agreement = RollingMean(
            Gauge(
                "ratchet_agreement_ratio",
                f"Winner's share of all rollouts, mean {_ROLLING} voted queries with an answer.",
                registry=r,
            ),
            Gauge(
                "ratchet_agreement_queries",
                f"Queries behind ratchet_agreement_ratio, {WINDOW} at most.",
                registry=r,
            ),
        )
        accuracy = Gauge(
            "ratchet_accuracy_ratio",
            f"Means {_ROLLING} answers that got feedback, by kind. `maj`: rolling maj@n, the "
            "majority of the rollouts was right; `avg`: rolling avg@n, share of right rollouts; "
            "`label`: the answer given was right; `reward`: reward accuracy, share of rollouts "
            "whose 0/1 reward under the estimated label is that under the true one (TTRL, arXiv "
            "2504.16084, section 4.2). No series before the first feedback.",
            ["kind"], registry=r,
        )  # fmt: skip
        answers = Gauge(
            "ratchet_accuracy_answers",
            f"Answers with feedback behind ratchet_accuracy_ratio, {WINDOW} at most. Feedback that "
            "only says `correct: false` tells nothing about single rollouts, so `avg` and `reward` "
            "may have fewer.",
            ["kind"], registry=r,
        )  # fmt: skip
        self.accuracy = {kind: RollingMean(accuracy, answers, kind) for kind in ACCURACIES}
        self.feedback = Counter(
            "ratchet_feedback", "Labels and verdicts received on answers, first ones.", registry=r
        )

    def _define_data(self, r: CollectorRegistry) -> None:
        groups = Counter(
            "ratchet_groups_offered",
            "Groups that were to be recorded, by what became of them: "
            + ", ".join(f"`{outcome}`" for outcome in OFFERED)
            + ".",
            ["outcome"], registry=r,
        )  # fmt: skip
        self.groups = _each(groups, OFFERED)
        self.recorder_groups = Gauge(
            "ratchet_recorder_groups", "Groups in memory that wait for Redis.", registry=r
        )
        self.top_up_groups = Gauge(
            "ratchet_top_up_groups", "Groups in memory that wait for more rollouts.", registry=r
        )
        self.buffer_groups = Gauge(
            "ratchet_buffer_groups",
            "Groups in Redis that the learner has not settled: trained, dropped or put aside.",
            registry=r,
        )
        self.buffer_bytes = Gauge("ratchet_buffer_bytes", "Bytes of those groups.", registry=r)
        self.buffer_oldest_seconds = Gauge(
            "ratchet_buffer_oldest_seconds",
            "Age of the oldest of those groups by Redis' clock; 0 if there is none.",
            registry=r,
        )
        self.buffer_expired = Counter(
            "ratchet_buffer_expired",
            "Groups found by this server to have waited longer than `retention_seconds`.",
            registry=r,
        )
        self.buffer_up = Gauge(
            "ratchet_buffer_up", "1 if Redis answered when last asked, each second.", registry=r
        )

    def _define_promotion(self, r: CollectorRegistry) -> None:
        self.live_version = Gauge(
            "ratchet_live_version", "Version this server answers with; 0 is base.", registry=r
        )
        self.recorded_version = Gauge(
            "ratchet_recorded_version",
            "Version that is live on record: what the server answers with if it can be loaded.",
            registry=r,
        )
        self.paused = Gauge(
            "ratchet_candidates_paused", "1 while candidates wait to be resumed.", registry=r
        )
        self.verdicts = Counter(
            "ratchet_gate_verdicts",
            "Candidates judged by this server, by verdict (`promoted`, `rejected`) and by the step "
            "that decided: `files`, `parity`, `trial`, `canary`, or `lineage` (its parent was no "
            "longer live).",
            ["verdict", "step"], registry=r,
        )  # fmt: skip
        for step in (Step.LINEAGE, Step.FILES, Step.PARITY, Step.TRIAL, Step.CANARY):
            self.verdicts.labels("rejected", step)
        for step in (Step.TRIAL, Step.CANARY):
            self.verdicts.labels("promoted", step)
        self.difference = Gauge(
            "ratchet_gate_difference",
            "Mean score of the last candidate minus its reference's in the trial, -1 to 1, against "
            "`parent`, `base`, or its parent by the operator's `labels`.",
            ["against"], registry=r,
        )  # fmt: skip
        self.swap_seconds = Histogram(
            "ratchet_swap_seconds",
            "Seconds of a candidate by stage: `wait` (until judged), `load`, `parity`, `gate` (the "
            "trial), `canary`, `flip`, and `total` from publication to the decision to promote.",
            ["stage"], registry=r, buckets=_SECONDS,
        )  # fmt: skip
        self.rollbacks = Counter(
            "ratchet_rollbacks",
            "Live versions taken back by this server because live traffic raised the question and "
            "a trial proved them worse.",
            registry=r,
        )
        live = f"{_ROLLING} voted queries under the live version; no value before the first"
        self._live = {
            "margin": Gauge(
                "ratchet_live_margin_ratio",
                f"Winner's lead over the runner-up as a share of the rollouts, mean {live}.",
                registry=r,
            ),
            "valid": Gauge(
                "ratchet_live_answering_ratio",
                "Share of rollouts with an answer (cut short or looping ones have none), mean "
                f"{live}.",
                registry=r,
            ),
            "diversity": Gauge(
                "ratchet_live_diversity_ratio",
                "Effective number of distinct winning answers, e^entropy, over the number of "
                f"queries, {live}. A collapse lowers it while agreement rises.",
                registry=r,
            ),
            "length": Gauge(
                "ratchet_live_rollout_tokens", f"Tokens of a rollout, mean {live}.", registry=r
            ),
        }  # fmt: skip

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request has been seen off."""
        if (told := self._answered.get((route, status))) is None:
            told = self._requests.labels(route, str(status)), self._request_seconds.labels(route)
            self._answered[route, status] = told
        told[0].inc()
        told[1].observe(seconds)
        if route.endswith("completions"):
            self.latency.add(seconds)

    def live(self, stats: PolicyStats | None) -> None:
        """How the live version answers; None if it has not yet."""
        numbers = {} if stats is None else stats.numbers()
        for name, gauge in self._live.items():
            gauge.set(numbers.get(name, float("nan")))

    def judged(self, steps: Sequence[StepVerdict], *, promoted: bool) -> None:
        """A candidate has been decided, by the last of these steps."""
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


def _each(counter: Counter, values: Iterable[str]) -> Mapping[str, Counter]:
    """A counter for each value of its one label. They begin at zero: one that appeared with its
    first event would show no increase for that one."""
    return {value: counter.labels(value) for value in values}
