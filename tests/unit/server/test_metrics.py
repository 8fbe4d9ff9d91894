"""What /metrics says, and how it is named."""

import re

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from adapter.learner.metrics import LearnerMetrics
from adapter.store.judgement import Cause, Step, StepVerdict, turned_away
from deploy.references import pages
from server.api.tenants import add_key
from server.metrics import ServerMetrics
from server.policy.stats import PolicyStats
from tests.serving import Api, serving, until

LABELS = {
    "route", "status", "replica", "what", "outcome", "kind", "verdict", "step", "against", "stage",
    "le", "purpose",
}  # fmt: skip
"""Every label there may be. None of them is a request, a client or a prompt."""


@pytest.mark.parametrize("metrics", [ServerMetrics(), LearnerMetrics()], ids=["server", "learner"])
def test_names_follow_prometheus(metrics: ServerMetrics | LearnerMetrics) -> None:
    names: set[str] = set()
    for family in metrics.registry.collect():
        if family.name.startswith("process_"):
            continue
        assert re.fullmatch(r"ratchet_[a-z0-9_]+", family.name)
        assert family.documentation.rstrip().endswith(".")
        assert not re.search(r"_(ms|millis|mb|kb|percent|minutes|hours)(_|$)", family.name)
        assert family.name not in names
        names.add(family.name)
        assert {label for sample in family.samples for label in sample.labels} <= LABELS


def test_labels_of_metrics_without_series_too() -> None:
    [page] = [text for name, text in pages() if name == "metrics.md"]
    shown = re.findall(r"^\| `ratchet_\w+` \| \w+ \| (.+?) \|", page, re.MULTILINE)
    labels = set(re.findall(r"`(\w+)`", " ".join(shown)))
    assert {"route", "against"} <= labels <= LABELS


def value(api: Api, name: str, **labels: str) -> float | None:
    return api.parts.metrics.registry.get_sample_value(name, labels)


async def test_votes_early_answers_and_rollouts_spared() -> None:
    async with serving(rollouts=8) as api:
        api.engine.script = lambda _m, _p, n: ([r"\boxed{4}"] * 5 + [r"\boxed{5}"] * 3)[:n]
        await api.chat()
        assert value(api, "ratchet_votes_early_total") == 0
        api.hold_back(6, 7)
        await api.chat(store=False)  # nobody needs the last two
        await until(lambda: api.at_rest)
        assert value(api, "ratchet_votes_total", outcome="answered") == 2
        assert value(api, "ratchet_votes_early_total") == 1
        assert value(api, "ratchet_rollouts_total") == 14
        assert value(api, "ratchet_rollouts_spared_total") == 2
        assert value(api, "ratchet_completion_tokens_total") == 14 * len(r"\boxed{4}")
        assert value(api, "ratchet_agreement_queries") == 2
        assert value(api, "ratchet_agreement_ratio") == (5 / 8 + 5 / 6) / 2
        assert value(api, "ratchet_requests_in_flight") == 0


async def test_lost_rollouts_are_not_spared_ones() -> None:
    async with serving(rollouts=8) as api:
        api.engine.script = lambda _m, _p, n: ([r"\boxed{4}"] * 4 + [r"\boxed{5}"] * 4)[:n]
        api.hold_back(3, 7)
        body = (await api.chat(ratchet={"deadline": 0.1})).json()
        assert (body["ratchet"]["reason"], body["ratchet"]["rollouts"]) == ("partial", 6)
        assert value(api, "ratchet_rollouts_spared_total") == 0
        assert value(api, "ratchet_votes_early_total") == 0


async def test_signals_of_the_live_version() -> None:
    async with serving() as api:
        api.parts.history.sample()
        assert "ratchet_live_diversity_ratio NaN" in (await api.client.get("/metrics")).text
        await api.chat()  # 4, 5, 4 and no answer
        await until(lambda: api.at_rest)
        api.parts.history.sample()
        assert value(api, "ratchet_live_margin_ratio") == 0.25
        assert value(api, "ratchet_live_answering_ratio") == 0.75
        assert value(api, "ratchet_live_diversity_ratio") == 1.0


async def test_the_buffer_s_depth_and_age() -> None:
    async with serving() as api:
        await api.chat()
        assert await api.recorded() == 1
        await api.parts.recorder.check()
        assert value(api, "ratchet_buffer_groups") == 1
        age = value(api, "ratchet_buffer_oldest_seconds")
        assert age is not None and 0 <= age < 5


def test_a_verdict_and_its_numbers() -> None:
    metrics = ServerMetrics()
    numbers = {"against_parent/mean": -0.2, "against_base/mean": 0.1}
    loaded = StepVerdict(Step.FILES, passed=True, seconds=0.2)
    worse = turned_away(Step.TRIAL, Cause.WORSE, "worse", numbers)
    metrics.judged([loaded, worse], promoted=False)
    metrics.judged([loaded, StepVerdict(Step.TRIAL, passed=True, seconds=2.8)], promoted=True)
    found = metrics.registry.get_sample_value
    verdict = {"verdict": "rejected", "step": "trial"}
    assert found("ratchet_gate_verdicts_total", verdict) == 1
    assert found("ratchet_gate_difference", {"against": "parent"}) == -0.2
    assert found("ratchet_gate_difference", {"against": "labels"}) is None
    assert found("ratchet_swap_seconds_sum", {"stage": "total"}) == 3.0
    assert found("ratchet_swap_seconds_count", {"stage": "load"}) == 2


def test_a_version_that_has_not_answered_shows_nothing() -> None:
    metrics = ServerMetrics()
    metrics.live(PolicyStats(0.9, 0.8, 1.0, 0.7, 12.0))
    assert metrics.registry.get_sample_value("ratchet_live_rollout_tokens") == 12.0
    metrics.live(None)
    text = metrics.expose().decode()
    assert "ratchet_live_rollout_tokens NaN" in text
    assert list(text_string_to_metric_families(text))


def test_the_last_update() -> None:
    metrics = LearnerMetrics()
    found = metrics.registry.get_sample_value
    metrics.updated({"kl": 0.5, "lag": 2.0, "rewards/dare/mean": 0.3})
    assert found("ratchet_update_kl_nats") == 0.5
    assert found("ratchet_update_lag_versions") == 2.0
    assert (found("ratchet_update_timestamp_seconds") or 0) > 1e9


def test_free_disk_is_seen_before_the_folder_is_there(tmp_path) -> None:
    metrics = LearnerMetrics(tmp_path / "not" / "yet")
    registry: CollectorRegistry = metrics.registry
    assert (registry.get_sample_value("ratchet_adapters_disk_free_bytes") or 0) > 0


async def test_tokens_of_votes_and_of_what_is_passed_through() -> None:
    async with serving() as api:
        voted = (await api.chat()).json()["usage"]["total_tokens"]
        single = (await api.chat(ratchet={"rollouts": 1})).json()["usage"]["total_tokens"]
        answered = value(api, "ratchet_tokens_total", purpose="answer")
        assert answered == voted + single > 0


async def test_requests_over_their_quota_are_counted(tmp_path) -> None:
    keys = tmp_path / "keys.jsonl"
    bearer = {"authorization": f"Bearer {add_key(keys, 'ada', requests_per_minute=1.0)}"}
    body = {"model": "ratchet", "messages": [{"role": "user", "content": "2+2"}]}
    async with serving(keys_file=keys) as api:
        for status in (200, 429):
            reply = await api.client.post("/v1/chat/completions", json=body, headers=bearer)
            assert reply.status_code == status
        assert value(api, "ratchet_quota_refusals_total") == 1
