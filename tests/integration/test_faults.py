"""Parts of a running stack are killed; answers go on, and nothing recorded is lost."""

import subprocess
from collections.abc import Iterator

import httpx
import openai
import psutil
import pytest
import redis

from tests.integration.test_loop import ask, learn_until, promoted, releases, version
from tests.live import LiveStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.needs("libnuma"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Iterator[LiveStack]:
    """A stack of its own, to be hurt by one test after the other."""
    stack = LiveStack(tmp_path_factory.mktemp("broken"))
    stack.start()
    yield stack
    if stack.process is not None and stack.process.poll() is None:
        stack.stop()


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


def test_the_learner_is_killed(broken: LiveStack) -> None:
    learn_until(broken, 1)
    gone = broken.kill("adapter")
    assert ask(broken, 2)[0]["recorded"]
    wait_until(lambda: broken.alive("adapter") and broken.child("adapter").pid != gone, 20)
    learn_until(broken, len(promoted(broken)) + 1)
    assert_accounts_close(broken)


def test_the_server_is_killed(broken: LiveStack) -> None:
    live, accepted = version(broken), accounts(broken)[0]
    broken.kill("server")
    wait_until(broken.ready, 30)
    wait_until(lambda: version(broken) >= live, 10)
    assert accounts(broken)[0] >= accepted
    assert_accounts_close(broken)


def test_redis_is_killed(broken: LiveStack) -> None:
    accepted, _, _ = accounts(broken)
    redis_process = broken.child("redis")
    redis_process.suspend()  # hung rather than gone: the harder case
    seen = ask(broken, 3)
    assert all(one["answer"] for one in seen)
    gone = broken.kill("redis")
    answered = ask(broken, 2)
    assert all(one["answer"] for one in answered)
    wait_until(lambda: broken.alive("redis") and broken.child("redis").pid != gone, 20)

    def recording() -> bool:
        return bool(ask(broken, 1)[0]["recorded"])

    wait_until(recording, 30)
    assert accounts(broken)[0] >= accepted
    learn_until(broken, len(promoted(broken)) + 1)
    assert_accounts_close(broken)


def test_the_engine_is_killed(broken: LiveStack) -> None:
    live = version(broken)
    assert live > 0
    broken.kill("engine")
    with (
        broken.client() as client,
        pytest.raises(openai.InternalServerError) as unavailable,
    ):
        client.chat.completions.create(
            model="ratchet", messages=[{"role": "user", "content": "What is 1+1?"}]
        )
    assert unavailable.value.status_code == 503
    assert unavailable.value.response.headers["retry-after"]
    wait_until(lambda: httpx.get(f"{broken.root}/readyz").status_code == 503, 10)
    assert httpx.get(f"{broken.root}/livez").status_code == 200
    wait_until(broken.ready, 120)

    def answers() -> bool:
        try:
            return ask(broken, 1)[0]["policy_version"] >= live
        except openai.APIStatusError:
            return False

    wait_until(answers, 30)  # the adapter was loaded again


def test_sigterm_stops_everything(broken: LiveStack) -> None:
    assert broken.process is not None
    family = psutil.Process(broken.process.pid).children(recursive=True)
    assert broken.stop() == 0
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, [subprocess.list2cmdline(process.cmdline()) for process in alive]
    assert len(gone) >= 4
