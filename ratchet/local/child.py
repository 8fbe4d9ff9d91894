"""A child process with a log file: ends with its parent; restarted when it exits by itself, unless
its exit status says that a restart is of no use."""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

log = logging.getLogger("ratchet.stack")

_RESTART_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1

GAVE_UP = 3
"""Exit status of a process that an operator must look after before a restart. An unforeseen error
ends with 1, and may be gone after a restart."""


def end_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends, however that happens (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """Runs `argv` until `stop`, and restarts it when it exits with another status than GAVE_UP.
    With a `niceness` above 0 it leaves the processor to others that want it."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        niceness: int = 0,
    ) -> None:
        self.name, self.log, self._niceness = name, log, niceness
        self._argv, self._environment = list(argv), {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self.restarts = 0

    async def start(self) -> None:
        """Start it, and keep it running."""
        self._spawn()
        self._supervisor = asyncio.create_task(self._supervise())

    async def stop(self, timeout: float = 15.0) -> None:
        """SIGTERM, then SIGKILL for what is left after `timeout` seconds, or when the wait is
        cancelled: whoever presses Ctrl-C twice waits no longer."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, timeout)
        except (subprocess.TimeoutExpired, asyncio.CancelledError) as ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(ended, asyncio.CancelledError):
                raise
            await asyncio.to_thread(process.wait)

    @property
    def pid(self) -> int:
        """Process id of the current process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit status of the current process; None while it runs."""
        return None if self._process is None else self._process.poll()

    def memory(self) -> int:
        """Bytes of memory of the process and its children, shared pages counted once."""
        try:
            tree = psutil.Process(self.pid)
            return sum(p.memory_full_info().pss for p in [tree, *tree.children(recursive=True)])
        except psutil.Error:
            return 0

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        if not self.log.is_file():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _spawn(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=self._prepare,
            )

    def _prepare(self) -> None:
        os.nice(self._niceness)
        end_with_parent()

    async def _supervise(self) -> None:
        while True:
            assert self._process is not None
            while self._process.poll() is None:
                await asyncio.sleep(0.1)
            if self.exit_code == GAVE_UP:
                log.error("%s gave up and is not started again: %s", self.name, self.log_tail(1))
                return
            log.warning("%s ended (status %s): starting it again", self.name, self.exit_code)
            await asyncio.sleep(_RESTART_SECONDS)
            self.restarts += 1
            self._spawn()
