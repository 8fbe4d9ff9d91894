"""The learner's Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server


class LearnerMetrics:
    """All metrics of one learner, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.groups = Counter(
            "ratchet_groups", "Groups settled by the learner, by outcome.", ["outcome"], registry=r
        )
        self.updates = Counter(
            "ratchet_updates", "Updates published, by verdict.", ["verdict"], registry=r
        )
        self.diverged = Counter(
            "ratchet_updates_diverged", "Updates skipped for a non-finite loss.", registry=r
        )
        self.seconds = Histogram(
            "ratchet_update_seconds",
            "Seconds per update, by stage.",
            ["stage"],
            registry=r,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
        )
        self.last = Gauge(
            "ratchet_update_last", "Numbers of the last update, by name.", ["name"], registry=r
        )
        self.leading = Gauge(
            "ratchet_learner_leading", "1 while this learner holds the lease.", registry=r
        )

    def serve(self, port: int) -> None:
        """Expose them on loopback; port 0 means not at all."""
        if port:
            start_http_server(port, "127.0.0.1", registry=self.registry)
