"""A learner is stopped at every call of its commit path, for longer than its lease.

Another one takes over and publishes; then the first goes on, as if no time had passed.
"""

import signal
from pathlib import Path

import psutil
import pytest

from adapter.store.redis.connection import FENCE
from adapter.store.redis.releases import RedisReleases
from tests.integration.test_injection import Commit, end
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.needs("strace"),
]
READING = 17
"""The command with which it reads the groups; those before connect and get the lease."""


class Relay(Commit):
    """A learner that is stopped on its way, and a second one that takes over."""

    async def runs(self, call: str, number: int) -> int | None:
        """Stop the first after its `number`-th call, until the second has trained everything.

        Returns the version published; None if the first got through before.
        """
        await self.begin()
        log = self.folder.parent / "trace"
        log.unlink(missing_ok=True)
        first = self.learner("strace", "-f", "-o", str(log), "-e", f"trace={call}", "-e",
                             f"inject={call}:signal=SIGSTOP:when={number}")  # fmt: skip
        try:
            wait_until(lambda: self.done() or stopped(log), 30)
            if not stopped(log):
                return None
            await self.judge()
            learners = self.learners()
            second = self.learner()
            try:
                wait_until(lambda: self.done() and self.learners() > learners, 30)
                [python] = psutil.Process(first.pid).children()
                python.send_signal(signal.SIGCONT)
            finally:
                second.kill()
                second.wait()
            # It has seen that it does not lead, and has started over.
            wait_until(lambda: self.learners() > learners + 1, 30)
        finally:
            end(first)
        await self.recovers()
        releases = RedisReleases(self.server.url)
        [release] = await releases.all()
        await releases.close()
        return release.version

    def learners(self) -> int:
        """How often one has begun to lead."""
        return int(self.client.get(FENCE) or 0)

    async def judge(self) -> None:
        """What a server would have done meanwhile."""
        releases = RedisReleases(self.server.url)
        for release in await releases.all():
            await releases.promote(release.version, 0, "")
        await releases.close()


def stopped(log: Path) -> bool:
    return log.exists() and "stopped by SIGSTOP" in log.read_text()


@pytest.fixture
def relay(own_server, tmp_path):
    made = Relay(own_server, tmp_path / "adapters")
    yield made
    made.client.close()


async def test_stopped_after_every_command(relay: Relay) -> None:
    """From where it reads the groups: before, there is nothing that could be doubled."""
    versions: list[int] = []
    while (version := await relay.runs("sendto", READING + len(versions))) is not None:
        versions.append(version)
    refused = versions.count(2)
    published = versions[::-1].index(2)
    # It had no number yet; had one, and wasted it, being refused; or had published before. How many
    # calls lie in each part varies: the loop is woken, and the lease renewed, by such calls too.
    assert refused >= 1 and published >= 1
    assert versions == [1] * (len(versions) - refused - published) + [2] * refused + [1] * published


async def test_stopped_between_saving_and_publishing(relay: Relay) -> None:
    assert await relay.runs("rename", 1) == 2
