"""The server's Prometheus metrics."""

from collections import deque

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_ROLLING = 256


class ServerMetrics:
    """All metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        self.requests = Counter(
            "ratchet_requests",
            "Requests answered, by route and status.",
            ["route", "status"],
            registry=r,
        )
        self.request_seconds = Histogram(
            "ratchet_request_seconds",
            "Seconds from request to reply.",
            ["route"],
            registry=r,
            buckets=_SECONDS,
        )
        self.overhead_seconds = Histogram(
            "ratchet_overhead_seconds",
            "Seconds of a chat reply not spent in the engine.",
            registry=r,
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5),
        )
        self.votes = Counter("ratchet_votes", "Voted queries, by outcome.", ["outcome"], registry=r)
        self.rollouts = Counter("ratchet_rollouts", "Rollouts sampled for votes.", registry=r)
        self.tokens = Counter("ratchet_completion_tokens", "Tokens generated.", registry=r)
        self.agreement = Gauge(
            "ratchet_agreement_ratio",
            f"Mean majority ratio of the last {_ROLLING} voted queries.",
            registry=r,
        )
        self.groups = Counter(
            "ratchet_groups_offered",
            "Groups handed to the recorder, by outcome.",
            ["outcome"],
            registry=r,
        )
        self.buffer_groups = Gauge("ratchet_buffer_groups", "Groups not settled.", registry=r)
        self.buffer_bytes = Gauge("ratchet_buffer_bytes", "Bytes of groups.", registry=r)
        self.buffer_expired = Counter(
            "ratchet_buffer_expired", "Groups that waited too long, as found here.", registry=r
        )
        self.buffer_up = Gauge("ratchet_buffer_up", "1 while Redis answers.", registry=r)
        self.engine_up = Gauge(
            "ratchet_engine_up", "1 while a replica generates.", ["replica"], registry=r
        )
        self.load = Gauge(
            "ratchet_load_ratio", "Estimated work under way, as a share of capacity.", registry=r
        )
        self.shed = Counter(
            "ratchet_shed", "What was given up for want of room, by kind.", ["what"], registry=r
        )
        self.top_ups = Counter(
            "ratchet_top_up_rollouts", "Rollouts drawn for the learner while idle.", registry=r
        )
        self.feedback = Counter("ratchet_feedback", "Labels and verdicts received.", registry=r)
        self.accuracy = Gauge(
            "ratchet_accuracy_ratio",
            f"Means over the last {_ROLLING} answers with feedback: `label`, `maj` and `reward` "
            "accuracy, `avg` over rollouts.",
            ["kind"],
            registry=r,
        )
        self.live_version = Gauge("ratchet_live_version", "Version being served.", registry=r)
        self.verdicts = Counter(
            "ratchet_gate_verdicts", "Candidates judged, by verdict.", ["verdict"], registry=r
        )
        self.rollbacks = Counter(
            "ratchet_rollbacks", "Versions taken back because they turned out worse.", registry=r
        )
        self.swap_seconds = Histogram(
            "ratchet_swap_seconds",
            "Seconds from publication to live, by stage.",
            ["stage"],
            registry=r,
            buckets=_SECONDS,
        )
        self._ratios: deque[float] = deque(maxlen=_ROLLING)

    def voted(self, agreement: float) -> None:
        """A query was voted on with this majority ratio."""
        self._ratios.append(agreement)
        self.agreement.set(sum(self._ratios) / len(self._ratios))

    def expose(self) -> bytes:
        """The exposition text of /metrics."""
        return generate_latest(self.registry)
