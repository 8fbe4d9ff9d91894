"""A learner is stopped at every call of its commit path, for longer than its lease.

Another one takes over and publishes; then the first goes on, as if no time had passed.
"""

import signal
import subprocess

import psutil
import pytest

from adapter.redis_connection import LEARNER
from adapter.redis_releases import RedisReleases
from tests.integration.test_injection import PTRACE, Commit, end
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not PTRACE, reason="strace is missing, or may not trace here"),
]
STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


class Relay(Commit):
    """A learner that is stopped on its way, and a second one that takes over."""

    async def runs(self, call: str, number: int) -> int | None:
        """Stop the first after its `number`-th call, until the second has trained everything.

        Returns the version published; None if the first got through before.
        """
        await self.begin()
        first = self.learner("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                             "-e", f"inject={call}:signal=SIGSTOP:when={number}")  # fmt: skip
        try:
            wait_until(lambda: self.done() or stopped(first), 30)
            if not stopped(first):
                return None
            await self.judge()
            second = self.learner()
            try:
                wait_until(self.done, 30)
                leading = int(self.client.get(LEARNER))
                [python] = psutil.Process(first.pid).children()
                python.send_signal(signal.SIGCONT)
            finally:
                second.kill()
                second.wait()
            # It has seen that it does not lead, and has started over.
            wait_until(lambda: int(self.client.get(LEARNER) or 0) > leading, 30)
        finally:
            end(first)
        await self.recovers()
        releases = RedisReleases(self.server.url)
        [release] = await releases.all()
        await releases.close()
        return release.version

    async def judge(self) -> None:
        """What a server would have done meanwhile."""
        releases = RedisReleases(self.server.url)
        for release in await releases.all():
            await releases.promote(release.version, 0, "", {})
        await releases.close()


def stopped(tracer: subprocess.Popen[bytes]) -> bool:
    return any(child.status() in STOPPED for child in psutil.Process(tracer.pid).children())


@pytest.fixture
def relay(own_server, tmp_path):
    made = Relay(own_server, tmp_path / "adapters")
    yield made
    made.client.close()


@pytest.mark.parametrize("call", ["fsync", "rename", "sendto"])
async def test_stopped_at_every_call(relay: Relay, call: str) -> None:
    versions: list[int] = []
    while (version := await relay.runs(call, len(versions) + 1)) is not None:
        versions.append(version)
    # Stopped before it published, the first has wasted version 1; after, version 1 stands.
    assert len(versions) >= {"fsync": 5, "rename": 1, "sendto": 12}[call]
    assert set(versions) == ({1, 2} if call == "sendto" else {2})
