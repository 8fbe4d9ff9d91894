"""What the Prometheus Operator and Grafana get on Kubernetes."""

import json

import pytest
import yaml

from deploy.references import ROOT
from tests.manifests import find, pods, resources

pytestmark = pytest.mark.needs("kustomize")


def test_whatever_has_metrics_is_scraped() -> None:
    monitors = [one for one in resources("monitoring") if one["kind"].endswith("Monitor")]
    jobs: set[str] = set()
    for monitor in monitors:
        spec = monitor["spec"]
        [end] = spec.get("endpoints") or spec["podMetricsEndpoints"]
        wanted = spec["selector"]["matchLabels"]
        if monitor["kind"] == "ServiceMonitor":
            chosen = [
                one["spec"]["ports"] for one in resources("gpu")
                if one["kind"] == "Service"
                and wanted.items() <= one["metadata"]["labels"].items()
            ]  # fmt: skip
        else:
            chosen = [
                one["spec"]["containers"][0]["ports"] for one in pods("gpu")
                if wanted.items() <= one["metadata"]["labels"].items()
            ]  # fmt: skip
        assert len(chosen) == 1 and end["port"] in {port["name"] for port in chosen[0]}
        assert end["path"] == "/metrics"
        jobs.add(end["relabelings"][0]["replacement"])
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert jobs == {one["job_name"] for one in scraped["scrape_configs"]}
    [way] = [one["spec"] for one in resources("monitoring") if one["kind"] == "NetworkPolicy"]
    [rule] = way["ingress"]
    [peer] = rule["from"]
    assert set(peer) == {"namespaceSelector", "podSelector"}, "Prometheus alone, not its namespace"


def test_alerts_are_those_of_prometheus() -> None:
    made = find("monitoring", "PrometheusRule", "ratchet")["spec"]
    assert made == yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())


def test_dashboards_are_in_config_maps() -> None:
    boards = [one for one in resources("monitoring") if one["kind"] == "ConfigMap"]
    assert len(boards) == 3
    for board in boards:
        assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
        [text] = board["data"].values()
        assert json.loads(text)["tags"] == ["ratchet"]
