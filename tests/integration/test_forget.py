"""A client is forgotten by a running stack: its groups, and all that was learnt from them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from adapter.store.clients import pseudonym
from adapter.store.releases import AdapterRelease, ReleaseState
from adapter.store.wire import unpack
from evals.arithmetic.questions import questions
from tests.integration.test_loop import releases, store, version
from tests.live import LiveStack
from tests.unit.adapter.learner.test_training_log import written
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.lane("live", 5)]

ALICE = pseudonym("alice")


class Users:
    """Ask ever new questions, each user his own."""

    def __init__(self, stack: LiveStack) -> None:
        self.client = stack.client()
        self.fresh = iter(questions(11, 2000))
        self.said: dict[str, list[str]] = {"alice": [], "bob": []}

    def ask(self, *users: str) -> list[dict]:
        seen = []
        for user in users:
            text = next(self.fresh).text
            self.said[user].append(text)
            reply = self.client.chat.completions.create(
                model="ratchet", messages=[{"role": "user", "content": text}], max_tokens=48,
                user=user,
            )  # fmt: skip
            seen.append(reply.model_extra["ratchet"])  # type: ignore[index]
        return seen


def lineage(stack: LiveStack) -> list[AdapterRelease]:
    """What is live and its ancestors."""
    by_version = {release.version: release for release in releases(stack)}
    client = store(stack)
    at, found = int(client.get("{ratchet}:live") or 0), []
    client.close()
    while at:
        found.append(by_version[at])
        at = by_version[at].parent
    return found


def everything_in(client: redis.Redis) -> Iterator[bytes]:
    """Every value under every key; packed groups unpacked."""
    for key in client.scan_iter():
        yield key
        match client.type(key):
            case b"string":
                yield client.get(key)
            case b"set":
                yield from client.smembers(key)
            case b"zset":
                yield from client.zrange(key, 0, -1)
            case b"hash":
                yield from client.hgetall(key).values()
            case b"stream":
                for _, fields in client.xrange(key):
                    yield from fields.values()
                    if b"g" in fields:
                        yield repr(unpack(fields[b"g"])).encode()


def command(stack: LiveStack, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ratchet", *words, "--redis-url", stack.redis_url,
         "--adapters-dir", str(stack.folder / "adapters")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_client_is_forgotten(live: LiveStack) -> None:
    users = Users(live)

    def until(condition, *who: str) -> None:
        for _ in range(60):
            if condition():
                return
            users.ask(*who)
        raise AssertionError((live.folder / "logs" / "server.log").read_text()[-2000:])

    until(lambda: lineage(live), "bob", "bob", "bob")
    until(lambda: any(ALICE in r.clients for r in lineage(live)), "alice", "bob", "bob")
    users.ask("alice", "bob")
    before = lineage(live)

    done = command(live, "forget", "alice")
    assert done.returncode == 0, done.stderr
    assert "alice" not in done.stdout + done.stderr
    now = lineage(live)
    assert [r.version for r in now] == [r.version for r in before][len(before) - len(now) :]
    assert not any(ALICE in release.clients for release in now)
    target = now[0].version if now else 0
    wait_until(lambda: version(live) == target, 20)
    withdrawn = [r for r in releases(live) if r.state is ReleaseState.WITHDRAWN]
    assert {r.version for r in before} - {r.version for r in now} <= {r.version for r in withdrawn}
    assert not any((live.folder / "adapters" / r.folder).exists() for r in withdrawn)

    # The reply says so once the server has looked; Redis takes nothing from the first on.
    wait_until(lambda: users.ask("alice")[0]["reason"] == "opted_out", 10)

    client = store(live)
    values = list(everything_in(client))
    client.close()
    assert any(text.encode() in value for text in users.said["bob"] for value in values)
    for text in [*users.said["alice"], "alice"]:
        assert not any(text.encode() in value for value in values)

    again = {one for release in withdrawn for one in release.sample_ids}
    learnt = [one for release in before for one in release.sample_ids]
    assert len(learnt) == len(set(learnt))
    until(lambda: again & {one for r in lineage(live) for one in r.sample_ids}, "bob", "bob")
    learnt = [one for release in lineage(live) for one in release.sample_ids]
    assert len(learnt) == len(set(learnt))  # I2
    assert not any(ALICE in release.clients for release in lineage(live))

    verified = command(live, "releases", "verify")
    assert verified.returncode == 0, verified.stdout
    agree, known = verified.stdout.splitlines()
    assert agree == "ledger, records and folders agree"
    assert re.fullmatch(r"ledger: entries from 1 to \d+ by key [0-9a-f]{8}", known)
    back = command(live, "releases", "rollback", str(withdrawn[0].version))
    assert back.returncode == 1
    for log in (live.folder / "logs").iterdir():
        assert "alice" not in log.read_text(errors="replace"), log.name
    users.client.close()


def test_what_was_learnt_is_in_the_training_log(live: LiveStack) -> None:
    found = written(Path(live.folder / "tensorboard"))
    steps = {step for step, _ in found["loss"]}
    assert {release.version for release in lineage(live)} <= steps
    assert {value for _, value in found["promoted"]} <= {0.0, 1.0}
    for name in ("num_tokens", "step_time", "completions/mean_length", "completions/clipped_ratio",
                 "reward", "reward_std", "rewards/dare/mean", "frac_reward_zero_std", "kl",
                 "entropy", "clip_ratio/region_mean", "sampling/importance_sampling_ratio/mean",
                 "grad_norm", "learning_rate", "lag", "majority_ratio"):  # fmt: skip
        assert found[name], name
