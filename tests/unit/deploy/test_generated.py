"""Dashboards, alerts and reference pages: current, and about metrics that there are."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from adapter.learner.metrics import LearnerMetrics
from deploy.__main__ import generated
from deploy.dashboards import CHANGES
from deploy.panels import BOARDS
from deploy.references import ROOT, settings_tables
from server.metrics import ServerMetrics
from tests.programs import program

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
QUERIES = {
    f"{board.name}: {panel.title}: {legend}": query
    for board in BOARDS for _, panels in board.rows for panel in panels
    for query, legend in panel.queries
} | {"annotations": CHANGES}  # fmt: skip
RARE = (
    "ratchet_gate_verdicts_total", "ratchet_rollbacks_total", "ratchet_updates_total",
    "ratchet_updates_diverged_total", "ratchet_groups_total", "ratchet_buffer_expired_total",
    "ratchet_swap_seconds_bucket", "ratchet_update_seconds_bucket", "vllm:num_preemptions_total",
    "process_start_time_seconds",
)  # fmt: skip
"""What happens every few minutes or less."""


ENDINGS = {
    "counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": (), "unknown": (),
    "info": ("_info",),
}  # fmt: skip


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


def engine_metrics() -> set[str]:
    """Every series name of vLLM's, out of the file that defines them."""
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.submodule_search_locations
    text = (Path(spec.submodule_search_locations[0]) / "v1/metrics/loggers.py").read_text()
    kinds = {"gauge": "gauge", "counter": "counter", "histogram": "histogram"}
    return {
        name + ending
        for kind, name in re.findall(r'self\._(\w+)_cls\(\s*name="(vllm:\w+)"', text)
        for ending in ENDINGS[kinds[kind]] or ("",)
    }


def known() -> set[str]:
    """Every series name that the processes can show."""
    found = {"up"} | engine_metrics()
    for registry in (ServerMetrics().registry, LearnerMetrics().registry):
        for family in registry.collect():
            found |= {family.name, *(family.name + ending for ending in ENDINGS[family.type])}
            found |= {sample.name for sample in family.samples}
    return found


@pytest.mark.parametrize(("file", "text"), list(generated()), ids=lambda p: getattr(p, "name", ""))
def test_what_is_made_from_code_is_current(file: Path, text: str) -> None:
    assert file.read_text() == text, "run `make references`"


def test_every_metric_asked_for_is_in_the_code() -> None:
    names = known()
    for where, query in {**QUERIES, **{a["alert"]: a["expr"] for a in alerts()}}.items():
        asked = set(re.findall(r"\b((?:ratchet_|process_|vllm:)[a-z_]+|up)\b", query))
        assert asked, where
        assert asked <= names, where


def test_every_metric_is_on_a_dashboard() -> None:
    """One that nobody looks at should not be kept."""
    shown = " ".join(QUERIES.values())
    counts = {"ratchet_agreement_queries", "ratchet_update_learning_rate",
              "ratchet_update_clipped_completions_ratio"}  # fmt: skip
    for registry in (ServerMetrics().registry, LearnerMetrics().registry):
        for family in registry.collect():
            ours = family.name.startswith("ratchet_")
            assert not ours or family.name in shown or family.name in counts, family.name


def test_rare_events_are_counted_over_ranges_that_hold_them() -> None:
    """A rate over a minute is zero nearly always for what happens every ten."""
    seen = ""
    for where, query in {**QUERIES, **{a["alert"]: a["expr"] for a in alerts()}}.items():
        for metric, over in re.findall(r"([a-z_:]+)(?:\{[^}]*\})?\[([^\]]+)\]", query):
            if metric in RARE:
                seen += metric
                assert over in ("$__range", "15m", "30m", "1h"), where
    assert all(metric in seen for metric in RARE)
    assert "[$__rate_interval]" in CHANGES, "as long as the step, however long the time shown"


def test_the_engine_is_seen() -> None:
    shown = " ".join(QUERIES.values())
    watched = " ".join(alert["expr"] for alert in alerts())
    for name in ("num_requests_waiting", "kv_cache_usage_perc", "num_preemptions_total"):
        assert f"vllm:{name}" in shown and f"vllm:{name}" in watched
    scraped = yaml.safe_load((RULES.parent / "prometheus.yml").read_text())["scrape_configs"]
    assert {one["job_name"] for one in scraped} == {
        "ratchet-server", "ratchet-adapter", "ratchet-engine",
    }  # fmt: skip


@pytest.mark.needs("promtool")
def test_every_query_parses(tmp_path: Path) -> None:
    plain = [
        query.replace("$__rate_interval", "1m").replace("$__range", "6h")
        for query in QUERIES.values()
    ]
    rules = [{"record": f"q{at}", "expr": query} for at, query in enumerate(plain)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked = subprocess.run(
        [program("promtool"), "check", "rules", file], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert f"{len(QUERIES)} rules found" in checked.stdout


@pytest.mark.needs("promtool")
def test_alerts_fire_when_they_should_and_only_then() -> None:
    folder = RULES.parent
    for arguments in (("test", "rules", "rules_test.yml"), ("check", "config", "prometheus.yml")):
        done = subprocess.run(
            [program("promtool"), *arguments], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_in_the_runbook() -> None:
    tests = yaml.safe_load((RULES.parent / "rules_test.yml").read_text())["tests"]
    fired = {
        case["alertname"] for test in tests for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }  # fmt: skip
    names = {alert["alert"] for alert in alerts()}
    assert fired == names
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    assert set(re.findall(r"^## (Ratchet\w+)$", runbook, re.MULTILINE)) == names
    for alert in alerts():
        assert alert["annotations"]["runbook"] == f"docs/runbook.md#{alert['alert'].lower()}"


def test_dashboards_are_distinct_and_find_their_source() -> None:
    boards = [
        json.loads(file.read_text())
        for file in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
    ]
    assert len({board["uid"] for board in boards}) == len(BOARDS)
    for board in boards:
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        for panel in board["panels"]:
            targets = panel.get("targets", [])
            assert len({target["refId"] for target in targets}) == len(targets)
            if targets:
                assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
                assert "docs/metrics.md" in panel["description"]


class Kitchen(BaseModel):
    """Where it cooks."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    oven_heat: int | None = None
    """Degrees | 180 is usual."""


class House(Kitchen):
    """All of it."""

    door: str = "red"
    """Its
    colour."""


def test_settings_have_a_table_a_group() -> None:
    head = "| setting | default | meaning |\n|---|---|---|\n"
    kitchen = f"{head}| `oven_heat` | none | Degrees \\| 180 is usual. |\n"
    house = f"{head}| `door` | `red` | Its colour. |\n"
    assert settings_tables(Kitchen) == kitchen
    assert settings_tables(House) == f"### All of it\n\n{house}\n### Where it cooks\n\n{kitchen}"
    assert settings_tables(House, {"oven_heat"}) == house
