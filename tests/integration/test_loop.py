"""The loop on real parts: ask, vote, record, learn, prove, swap, roll back."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import pytest
import redis

from adapter.store.adapter_folders import AdapterFolders
from adapter.store.releases import AdapterRelease, ReleaseState
from adapter.store.wire import unpack
from evals.arithmetic.questions import questions
from tests.live import LiveStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.lane("live", 3)]


def ask(live: LiveStack, count: int, seed: int = 7) -> list[dict]:
    """Voted replies' `ratchet` objects for that many questions."""
    client = live.client()
    seen = [
        client.chat.completions.create(
            model="ratchet", messages=[{"role": "user", "content": q.text}], max_tokens=48
        ).model_extra["ratchet"]  # type: ignore[index]
        for q in questions(seed, count)
    ]
    client.close()
    return seen


def store(live: LiveStack) -> redis.Redis:
    return redis.Redis.from_url(live.redis_url)


def releases(live: LiveStack) -> list[AdapterRelease]:
    client = store(live)
    rows = [AdapterRelease.from_json(row) for row in client.hvals("{ratchet}:releases")]
    client.close()
    return sorted(rows, key=lambda release: release.version)


def version(live: LiveStack) -> int:
    return int(httpx.get(f"{live.root}/readyz").json()["version"])


def promoted(live: LiveStack) -> list[AdapterRelease]:
    """Versions that are or were live."""
    states = (ReleaseState.LIVE, ReleaseState.RETIRED)
    return [release for release in releases(live) if release.state in states]


def learn_until(live: LiveStack, count: int) -> None:
    """Ask until that many versions have been promoted."""
    for seed in range(100, 160):
        if len(promoted(live)) >= count:
            return
        ask(live, 6, seed + 1000 * count)
    raise AssertionError((live.folder / "logs" / "server.log").read_text()[-2000:])


def test_the_openai_client_as_it_is(live: LiveStack) -> None:
    client = live.client()
    question = [{"role": "user", "content": "What is 12+34?"}]
    reply = client.chat.completions.create(model="ratchet", messages=question, max_tokens=48)
    assert "boxed" in (reply.choices[0].message.content or "")
    assert reply.usage is not None
    assert reply.usage.completion_tokens > 16
    chunks = list(
        client.chat.completions.create(
            model="ratchet", messages=question, stream=True, max_tokens=48,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert "boxed" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    single = list(
        client.chat.completions.create(
            model="ratchet@base", messages=question, stream=True, max_tokens=48,
            extra_body={"ratchet": {"rollouts": 1}},
        )
    )  # fmt: skip
    assert len(single) > 5
    assert {"ratchet", "ratchet@base"} <= {model.id for model in client.models.list()}
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4", messages=question)
    with pytest.raises(openai.BadRequestError) as too_long:
        client.chat.completions.create(
            model="ratchet", messages=[{"role": "user", "content": "1+" * 500}]
        )
    assert too_long.value.code == "context_length_exceeded"
    client.close()


def test_it_learns_and_every_version_is_proved(live: LiveStack) -> None:
    learn_until(live, 2)
    for release in promoted(live):
        assert release.numbers["parity/to_trainer"] < 1e-3
        assert release.numbers["parity/to_base"] > release.numbers["parity/to_trainer"]
        assert len(release.sample_ids) == 4
    serving = promoted(live)[-1]
    folders = AdapterFolders(live.folder / "adapters")
    assert folders.verified(serving).name == serving.folder  # I3
    names = httpx.get(f"http://127.0.0.1:{live.engine_port}/v1/models").json()["data"]
    assert serving.folder in [model["id"] for model in names]
    assert len(names) <= 1 + 3  # base, live, one predecessor, at most one draining
    trained = [one for release in promoted(live) for one in release.sample_ids]
    assert len(trained) == len(set(trained))  # I2


def test_the_adapter_folder_is_usable_with_plain_peft(live: LiveStack) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from adapter.store.probe_sheet import ProbeSheet

    learn_until(live, 1)
    release = next(r for r in reversed(releases(live)) if r.state is ReleaseState.LIVE)
    folder = live.folder / "adapters" / release.folder
    base = AutoModelForCausalLM.from_pretrained("evals/arithmetic/model", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, str(folder)).eval()
    card = (folder / "README.md").read_text()
    assert f"# Version {release.version}" in card
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["sample_ids"] == list(release.sample_ids)
    assert manifest["config"] == release.config
    assert "redis" not in json.dumps(manifest["settings"])
    sheet = ProbeSheet.read(folder)
    ids = torch.tensor([list(sheet.sequences[0])])
    with torch.no_grad():
        logs = torch.log_softmax(model(ids).logits[0, :-1], dim=-1)
    scores = logs.gather(-1, ids[0, 1:, None])[:, 0].tolist()
    scores = scores[sheet.starts[0] - 1 :]
    assert scores == pytest.approx(list(sheet.adapter[0]), abs=1e-4)


def test_rollback_is_one_command(live: LiveStack) -> None:
    learn_until(live, 2)
    command = [sys.executable, "-m", "ratchet", "releases", "--redis-url", live.redis_url,
               "--adapters-dir", str(live.folder / "adapters")]  # fmt: skip
    out = subprocess.run([*command, "rollback"], capture_output=True, text=True, check=True).stdout
    moved = re.match(r"live: v(\d+) -> (?:v(\d+)|base)", out)
    assert moved, out
    left = int(moved[1])
    wait_until(lambda: version(live) != left, 10)
    assert ask(live, 1)[0]["policy_version"] != left
    listed = subprocess.run([*command, "list"], capture_output=True, text=True, check=True).stdout
    assert re.search(rf"v{left} +retired", listed)
    learn_until(live, len(promoted(live)) + 1)  # and it goes on from there


def test_the_ledger_holds_against_records_and_folders(live: LiveStack) -> None:
    learn_until(live, 1)
    command = [sys.executable, "-m", "ratchet", "releases", "verify", "--redis-url", live.redis_url,
               "--adapters-dir", str(live.folder / "adapters")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    agree, known = done.stdout.splitlines()
    assert agree == "ledger, records and folders agree"
    assert re.fullmatch(r"ledger: entries from 1 to \d+ by key [0-9a-f]{8}", known)


def test_nothing_in_redis_is_a_prompt_in_the_logs(live: LiveStack) -> None:
    client = live.client()
    secret = "What is 61+17? unmistakable"
    client.chat.completions.create(
        model="ratchet", messages=[{"role": "user", "content": secret}], max_tokens=48
    )
    client.close()
    for log in (live.folder / "logs").iterdir():
        assert "unmistakable" not in log.read_text(errors="replace"), log.name
    assert "unmistakable" not in httpx.get(f"{live.root}/metrics").text


def test_groups_in_redis_hold_what_the_engine_sampled(live: LiveStack) -> None:
    ask(live, 3, seed=991)
    client = store(live)
    rows = client.xrange("{ratchet}:groups")
    client.close()
    for _, fields in rows:
        group = unpack(fields[b"g"])
        assert len(group.rollouts) == 16
        assert group.sampling.trainable


def test_a_rollout_that_is_likelier_than_all_others_needs_no_vote(live: LiveStack) -> None:
    """By the log-probabilities of a real engine, of a question that the small model knows."""
    client = live.client()
    votes = [
        client.chat.completions.create(
            model="ratchet", messages=[{"role": "user", "content": f"What is {a}+14?"}],
            max_tokens=48, extra_body={"ratchet": {"confidence": 0.99}},
        ).model_extra["ratchet"]  # type: ignore[index]
        for a in range(20, 30)
    ]  # fmt: skip
    client.close()
    right = [vote["answer"] == str(a + 14) for a, vote in enumerate(votes, 20)]
    known = [vote for vote in votes if vote["rollouts"] < 4 and vote["reason"] == "agreed"]
    assert sum(right) >= 5
    assert len(known) >= 2


def test_metrics_are_exposed(live: LiveStack) -> None:
    ask(live, 1)
    text = httpx.get(f"{live.root}/metrics").text
    for name in ("ratchet_requests_total", "ratchet_agreement_ratio", "ratchet_live_version",
                 "ratchet_swap_seconds_bucket", "ratchet_buffer_groups"):  # fmt: skip
        assert name in text


@pytest.mark.needs("curl")
def test_curl(live: LiveStack, tmp_path: Path) -> None:
    body = '{"model": "ratchet", "messages": [{"role": "user", "content": "What is 478+356?"}]}'
    out = subprocess.run(
        ["curl", "-s", f"{live.root}/v1/chat/completions",
         "-H", "content-type: application/json", "-d", body],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert '"agreement"' in out
