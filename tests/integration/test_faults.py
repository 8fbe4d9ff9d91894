"""Parts of a running stack are killed; answers go on, and nothing recorded is lost."""

import subprocess

import httpx
import openai
import psutil
import pytest
import redis

from tests.integration.test_loop import ask, learn_until, promoted, releases, version
from tests.live import LiveStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.lane("live", 4)]


def accounts(stack: LiveStack) -> tuple[int, int, int]:
    """Groups accepted, settled, and waiting."""
    client = redis.Redis.from_url(stack.redis_url)
    totals = {k.decode(): int(v) for k, v in client.hgetall("{ratchet}:groups:totals").items()}
    waiting = client.xlen("{ratchet}:groups")
    client.close()
    accepted = totals.pop("accepted", 0)
    return accepted, sum(totals.values()), waiting


def assert_accounts_close(stack: LiveStack) -> None:
    accepted, settled, waiting = accounts(stack)
    assert accepted == settled + waiting  # I1
    trained = [one for release in releases(stack) for one in release.sample_ids]
    assert len(trained) == len(set(trained))  # I2


def test_the_learner_is_killed(live: LiveStack) -> None:
    learn_until(live, 1)
    gone = live.kill("adapter")
    assert ask(live, 2)[0]["recorded"]
    wait_until(lambda: live.alive("adapter") and live.child("adapter").pid != gone, 20)
    learn_until(live, len(promoted(live)) + 1)
    assert_accounts_close(live)


def test_the_server_is_killed(live: LiveStack) -> None:
    serving, accepted = version(live), accounts(live)[0]
    live.kill("server")
    wait_until(live.ready, 30)
    wait_until(lambda: version(live) >= serving, 10)
    assert accounts(live)[0] >= accepted
    assert_accounts_close(live)


def test_redis_is_killed(live: LiveStack) -> None:
    accepted, _, _ = accounts(live)
    redis_process = live.child("redis")
    redis_process.suspend()  # hung rather than gone: the harder case
    seen = ask(live, 3)
    assert all(one["answer"] for one in seen)
    gone = live.kill("redis")
    answered = ask(live, 2)
    assert all(one["answer"] for one in answered)
    wait_until(lambda: live.alive("redis") and live.child("redis").pid != gone, 20)

    def recording() -> bool:
        return bool(ask(live, 1)[0]["recorded"])

    wait_until(recording, 30)
    assert accounts(live)[0] >= accepted
    learn_until(live, len(promoted(live)) + 1)
    assert_accounts_close(live)


def test_the_engine_is_killed(live: LiveStack) -> None:
    serving = version(live)
    assert serving > 0
    live.kill("engine")
    with (
        live.client() as client,
        pytest.raises(openai.InternalServerError) as unavailable,
    ):
        client.chat.completions.create(
            model="ratchet", messages=[{"role": "user", "content": "What is 1+1?"}]
        )
    assert unavailable.value.status_code == 503
    assert unavailable.value.response.headers["retry-after"]
    wait_until(lambda: httpx.get(f"{live.root}/readyz").status_code == 503, 10)
    assert httpx.get(f"{live.root}/livez").status_code == 200
    wait_until(live.ready, 120)

    def answers() -> bool:
        try:
            return ask(live, 1)[0]["policy_version"] >= serving
        except openai.APIStatusError:
            return False

    wait_until(answers, 30)  # the adapter was loaded again


@pytest.mark.lane("live", 6)
def test_sigterm_stops_everything(live: LiveStack) -> None:
    assert live.process is not None
    family = psutil.Process(live.process.pid).children(recursive=True)
    assert live.stop() == 0
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, [subprocess.list2cmdline(process.cmdline()) for process in alive]
    assert len(gone) >= 4
