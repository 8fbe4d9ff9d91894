"""A real stack under real questions, watched by a real Prometheus and in a real browser."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import yaml
from playwright.sync_api import expect

from deploy.panels import BOARDS
from deploy.references import ROOT
from tests.browser import browser, opened
from tests.live import LiveStack
from tests.ports import free_port
from tests.programs import program
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.needs("libnuma", "prometheus"),
]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
QUESTIONS = 140


class Prometheus:
    """Scrapes what it is told each second."""

    def __init__(self, folder: Path, targets: dict[str, int]) -> None:
        self.port = free_port()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
                for job, port in targets.items()
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.process = subprocess.Popen(
            [program("prometheus"), f"--config.file={folder}/prometheus.yml",
             f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def get(self, path: str, **params: str) -> dict:
        reply = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/{path}", params=params, timeout=10)
        if reply.status_code == 503:  # it is starting
            reply.raise_for_status()
        assert reply.status_code == 200, f"{params}: {reply.text}"
        return reply.json()["data"]

    def up(self) -> bool:
        try:
            targets = self.get("targets")["activeTargets"]
        except httpx.HTTPError:
            return False
        return bool(targets) and all(target["health"] == "up" for target in targets)

    def points(self, query: str) -> int:
        """How many values the last five minutes have of it."""
        now = time.time()
        found = self.get(
            "query_range", query=query, start=str(now - 300), end=str(now), step="2"
        )["result"]  # fmt: skip
        return sum(len(series["values"]) for series in found)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveStack, Prometheus]]:
    folder = tmp_path_factory.mktemp("watched")
    learner_port = free_port()
    stack = LiveStack(folder, adapter_metrics_port=learner_port, page_texts=True, reward="majority")
    targets = {
        "ratchet-server": stack.port, "ratchet-adapter": learner_port,
        "ratchet-engine": stack.engine_port,
    }  # fmt: skip
    with ExitStack() as running:
        stack.start()
        running.callback(stack.stop)
        prometheus = Prometheus(folder, targets)
        running.callback(prometheus.process.wait)
        running.callback(prometheus.process.terminate)
        wait_until(prometheus.up, 60)
        yield stack, prometheus


@pytest.fixture(scope="module")
def asking(watched: tuple[LiveStack, Prometheus]) -> Iterator[subprocess.Popen[bytes]]:
    """What asks the stack, from the first test on that wants it asked."""
    stack, _ = watched
    with (
        (stack.folder / "asked.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "ratchet", "ask", "arithmetic", "--url", f"{stack.root}/v1",
             "--feedback", "--limit", str(QUESTIONS), "--rate", "3"],
            stdout=log,
        ) as process,
    ):  # fmt: skip
        yield process
        process.terminate()


@pytest.mark.needs("chromium")
def test_a_browser_shows_it_learn(
    watched: tuple[LiveStack, Prometheus], request: pytest.FixtureRequest
) -> None:
    stack, _ = watched
    with browser() as chromium:
        page, complaints = opened(chromium, stack.root, viewport={"width": 1200, "height": 1000})
        expect(page.locator("#figures")).to_contain_text("base")
        asking = request.getfixturevalue("asking")
        expect(page.locator("#figures")).to_contain_text(re.compile(r"v[2-9]"), timeout=240_000)
        expect(page.locator("#release-rows")).to_contain_text("not worse than its parent")
        expect(page.locator("#vote-list li").first).to_contain_text("agree")
        expect(page.locator("#figures")).to_contain_text(re.compile(r"reward accuracy|\d+%"))
        status = asking.wait(240)
        said = (stack.folder / "asked.log").read_text()
        assert status == 0, said
        assert f"{QUESTIONS} asked" in said and "0 failed" in said
        page.click("#send")
        expect(page.locator("#poll-state")).to_contain_text("rollouts of v", timeout=20_000)
        assert complaints == []
        if pictures := os.environ.get("RATCHET_PICTURES"):
            page.screenshot(path=f"{pictures}/page.png", full_page=True)


def test_prometheus_has_data_for_every_panel(
    watched: tuple[LiveStack, Prometheus], asking: subprocess.Popen[bytes]
) -> None:
    stack, prometheus = watched
    assert asking.wait(240) == 0
    wait_until(lambda: httpx.get(f"{stack.root}/live").json()["version"] >= 1, 240)
    body = {"model": "ratchet", "messages": [{"role": "user", "content": "What is 1+1?"}]}
    address = f"{stack.root}/v1/chat/completions"
    late = {"ratchet": {"deadline": 0.05, "rollouts": 64}, "max_tokens": 60}
    seen = prometheus.points('ratchet_requests_total{status=~"4.."}')
    failed = 'rate(ratchet_requests_total{status=~"5.."}[10s])'  # wants two scrapes
    while not (seen and prometheus.points(failed)):
        assert httpx.post(address, json={**body, "n": 0}).status_code == 400
        httpx.post(address, json={**body, **late}, timeout=30)  # a 504: nothing in 50 ms
        seen = prometheus.points('ratchet_requests_total{status=~"4.."}')
    empty = [
        f"{board.name}: {panel.title}: {legend}"
        for board in BOARDS for _, panels in board.rows for panel in panels
        for query, legend in panel.queries
        if not prometheus.points(query.replace("$__rate_interval", "10s").replace("$__range", "5m"))
    ]  # fmt: skip
    assert empty == []


def test_prometheus_evaluates_every_alert_on_data(watched: tuple[LiveStack, Prometheus]) -> None:
    _, prometheus = watched
    [group] = prometheus.get("rules")["groups"]
    expected = [rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]
    assert [rule["name"] for rule in group["rules"]] == expected
    for rule in group["rules"]:
        assert (rule["health"], rule.get("lastError", "")) == ("ok", ""), rule["name"]
        for selector in set(re.findall(r"(?:ratchet_\w+|\bup\b)(?:\{[^}]*\})?", rule["query"])):
            if 'status=~"5' in selector:
                continue  # asked for above
            assert prometheus.points(selector), f"{rule['name']}: {selector}"
    firing = {alert["labels"]["alertname"] for alert in prometheus.get("alerts")["alerts"]
              if alert["state"] == "firing"}  # fmt: skip
    assert firing <= {"RatchetDiskLow"}


def test_a_part_that_dies_is_noticed(watched: tuple[LiveStack, Prometheus]) -> None:
    stack, prometheus = watched
    learner = stack.child("adapter")
    learner.kill()
    wait_until(lambda: prometheus.points("up{job='ratchet-adapter'} == 0"), 30)
    wait_until(prometheus.up, 120)  # and comes back
