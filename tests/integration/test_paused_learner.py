"""A learner is stopped at every call of its commit path, for longer than its lease.

Another one takes over and publishes; then the first goes on, as if no time had passed.
"""

import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from adapter.releases import ReleaseState
from tests.integration.test_injection import NAMES, PTRACE, Commit, end
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not PTRACE, reason="strace is missing, or may not trace here"),
]


class Relay(Commit):
    """A learner that is stopped on its way, and a second one that takes over."""

    def traced(self, call: str, number: int) -> subprocess.Popen[bytes]:
        """A learner that stops itself after the call."""
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
                   "-e", f"inject={call}:signal=SIGSTOP:when={number}"]  # fmt: skip
        return self.learner(*command)

    async def passes(self, call: str, number: int) -> bool:
        """Whether the first one was stopped; if so, all has ended well."""
        await self.begin()
        tracer = self.traced(call, number)
        try:
            wait_until(lambda: self.done() or stopped(tracer), 30)
            if not stopped(tracer):
                return False
            second = self.learner()
            try:
                wait_until(lambda: self.done() or second.poll() is not None, 30)
                [first] = psutil.Process(tracer.pid).children()
                first.send_signal(signal.SIGCONT)
                self.await_standby(first)
            finally:
                second.kill()
                second.wait()
        finally:
            end(tracer)
        return True

    def await_standby(self, first: psutil.Process) -> None:
        """It has found out that it does not lead, and asks for the lease in vain."""


def stopped(tracer: subprocess.Popen[bytes]) -> bool:
    return any(
        child.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        for child in psutil.Process(tracer.pid).children()
    )
