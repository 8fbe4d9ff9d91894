"""Figures over the last observations."""

from prometheus_client import CollectorRegistry, Gauge

from server.rolling import WINDOW, RollingMean, RollingQuantiles


def test_no_data_is_not_zero_and_old_values_go() -> None:
    registry = CollectorRegistry()
    mean = Gauge("mean", "", ["kind"], registry=registry)
    count = Gauge("count", "", ["kind"], registry=registry)
    rolling = RollingMean(mean, count, "maj")
    assert rolling.mean is None
    assert registry.get_sample_value("mean", {"kind": "maj"}) is None
    rolling.add(0.0)
    rolling.add(1.0)
    assert registry.get_sample_value("mean", {"kind": "maj"}) == 0.5
    for _ in range(WINDOW):
        rolling.add(1.0)
    assert registry.get_sample_value("mean", {"kind": "maj"}) == 1.0
    assert registry.get_sample_value("count", {"kind": "maj"}) == WINDOW


def test_quantiles_of_the_last_values() -> None:
    rolling = RollingQuantiles()
    assert rolling.quantile(0.5) is None
    for value in (5.0, 1.0, 4.0, 2.0, 3.0):
        rolling.add(value)
    assert (rolling.quantile(0.5), rolling.quantile(0.95), rolling.quantile(0.2)) == (3.0, 5.0, 1.0)
    for _ in range(WINDOW):
        rolling.add(9.0)
    assert (rolling.quantile(0.0), rolling.count) == (9.0, WINDOW + 5)
