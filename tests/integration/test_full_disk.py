"""Every write of the learner's commit path is the last one of a process, or finds the disk full."""

import resource
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
import redis

from tests.integration.test_injection import NAMES, Commit, end
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]
traced = pytest.mark.needs("strace")
WRITES = 8
"""Weights, their configuration, probe sheet, what only the learner needs, queries, manifest, card,
and the hash of the learner's."""


@pytest.fixture
def commit(own_server, tmp_path) -> Iterator[Commit]:
    made = Commit(own_server, tmp_path / "adapters")
    yield made
    made.client.close()


def leftovers(commit: Commit) -> list[str]:
    return [entry.name for entry in commit.folder.iterdir() if entry.name.startswith(".tmp")]


@traced
async def test_killed_at_every_write(commit: Commit) -> None:
    points = 0
    while True:
        await commit.begin()
        if not commit.hit("write", "signal=SIGKILL", points + 1):
            break
        points += 1
        await commit.recovers()
        assert leftovers(commit) == []
    assert points >= WRITES


@traced
async def test_the_disk_is_full_at_every_write(commit: Commit) -> None:
    """And the next time it is not."""
    for number in range(1, WRITES + 1):
        await commit.begin()
        process = commit.learner("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=write",
                                 "-e", f"inject=write:error=ENOSPC:when={number}")  # fmt: skip
        try:
            wait_until(commit.done, 30)
        finally:
            end(process)
        await commit.recovers()
        assert leftovers(commit) == []


async def test_no_file_may_grow_until_it_may(commit: Commit) -> None:
    """The learner waits, its groups with it, and goes on by itself."""
    await commit.begin()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.poisoned_learner", commit.server.url, str(commit.folder)],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4, resource.RLIM_INFINITY)),
    )
    assert process.stderr is not None
    try:
        complaints = [process.stderr.readline() for _ in range(2)]
        assert all(b"cannot write to adapters_dir" in line for line in complaints)
        assert leftovers(commit) == []
        client = redis.Redis(port=commit.server.port)
        assert client.xlen("{ratchet}:groups") == len(NAMES)
        client.close()
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, unlimited)
        wait_until(commit.done, 30)
    finally:
        process.kill()
        process.communicate()
    await commit.recovers()
