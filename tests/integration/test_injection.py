"""The learner is killed at every system call of its commit path, one after the other.

strace counts: the N-th call of a kind is the last, N = 1, 2, … until a run is not hit any more.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis

from adapter.store.adapter_folders import AdapterFolders
from adapter.store.audit import faults
from adapter.store.redis.buffer import RedisBuffer
from adapter.store.redis.releases import RedisReleases
from tests.integration.test_poison import group
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.needs("strace"),
]
NAMES = ["a", "b", "c", "d"]


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill what strace traces, which is its child; strace follows."""
    if process.poll() is None:
        for child in psutil.Process(process.pid).children():
            child.kill()
    process.wait(10)


class Commit:
    """Four groups, one update: what a learner makes of them in `folder`."""

    def __init__(self, server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.client = redis.Redis(port=server.port)

    def learner(self, *strace: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.poisoned_learner", self.server.url]
        return subprocess.Popen([*strace, *command, str(self.folder)], stderr=subprocess.DEVNULL)

    def done(self) -> bool:
        totals = self.client.hgetall("{ratchet}:groups:totals")
        return int(totals.get(b"trained", 0)) == len(NAMES)

    async def begin(self) -> None:
        self.server.empty()
        shutil.rmtree(self.folder, ignore_errors=True)
        buffer = RedisBuffer(self.server.url)
        for name in NAMES:
            await buffer.append(group(name))
        await buffer.close()

    def hit(self, call: str, how: str, number: int) -> bool:
        """Run once under injection; whether the process died of it."""
        inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                  "-e", f"inject={call}:{how}:when={number}"]  # fmt: skip
        process = self.learner(*inject)
        try:
            wait_until(lambda: self.done() or process.poll() is not None, 30)
            return process.poll() is not None
        finally:
            end(process)

    async def recovers(self) -> None:
        """Without injection: the groups are trained, once, and everything on record holds."""
        releases, folders = RedisReleases(self.server.url), AdapterFolders(self.folder)
        for release in await releases.all():  # a server would have judged it meanwhile
            await releases.promote(release.version, 0, "")
        process = self.learner()
        wait_until(lambda: self.done() or process.poll() is not None, 30)
        process.kill()
        process.wait()
        [release] = await releases.all()
        assert sorted(release.sample_ids) == NAMES
        weights = (folders.verified(release) / "adapter_model.safetensors").read_text().split()
        assert sorted(weights) == NAMES
        assert [fault async for fault in faults(releases, folders)] == []
        await releases.close()
        totals = self.client.hgetall("{ratchet}:groups:totals")
        assert (totals[b"accepted"], self.client.xlen("{ratchet}:groups")) == (b"4", 0)


@pytest.fixture
def commit(own_server, tmp_path: Path):
    made = Commit(own_server, tmp_path / "adapters")
    yield made
    made.client.close()


@pytest.mark.parametrize("call", ["fsync", "rename", "mkdir", "sendto"])
async def test_killed_at_every_call(commit: Commit, call: str) -> None:
    points = 0
    while True:
        await commit.begin()
        if not commit.hit(call, "signal=SIGKILL", points + 1):
            break
        points += 1
        await commit.recovers()
    assert points >= {"fsync": 5, "rename": 1, "mkdir": 1, "sendto": 12}[call]


@pytest.mark.parametrize(
    ("call", "error"),
    [("fsync", "EIO"), ("fsync", "ENOSPC"), ("rename", "EIO"), ("mkdir", "ENOSPC")],
)
async def test_a_failing_disk_is_waited_for(commit: Commit, call: str, error: str) -> None:
    """One call in a run fails, at each place in turn: the learner tries again and goes on."""
    number = 1
    while True:
        await commit.begin()
        inject = f"inject={call}:error={error}:when={number}"
        log = commit.folder.parent / "trace"
        process = commit.learner("strace", "-f", "-qq", "-o", str(log), "-e", f"trace={call}",
                                 "-e", inject)  # fmt: skip
        wait_until(commit.done, 30)
        end(process)
        await commit.recovers()
        assert not [entry for entry in commit.folder.iterdir() if entry.name.startswith(".tmp")]
        if "(INJECTED)" not in log.read_text():
            break
        number += 1
    assert number > 1
