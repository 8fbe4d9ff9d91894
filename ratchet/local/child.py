"""A child process with a log file: dies with us, comes back when it dies by itself.

Unless it says that coming back is of no use, by its exit status.
"""

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
"""Exit status of a process that somebody has to look after before it is started again. An error
that nobody foresaw ends with 1, and may be gone after a restart."""


class Child:
    """Runs `argv` until `stop`; restarts it when it exits by itself, but not if it gave up."""

    def __init__(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name, self.log = name, log
        self._argv, self._environment = list(argv), {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.restarts = 0

    async def start(self) -> None:
        """Start, and keep it running from now on."""
        self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self, patience: float = 15.0) -> None:
        """SIGTERM, then SIGKILL for what outlives `patience` seconds."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, patience)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)

    @property
    def pid(self) -> int:
        """Process id of the current incarnation."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit status of the current incarnation; None while it runs."""
        return None if self._process is None else self._process.poll()

    def memory(self) -> int:
        """Bytes of memory of the process and its children, shared pages counted once."""
        try:
            tree = psutil.Process(self.pid)
            return sum(p.memory_full_info().pss for p in [tree, *tree.children(recursive=True)])
        except psutil.Error:
            return 0

    def last_words(self, lines: int = 15) -> str:
        """The end of the log."""
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
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    async def _keep(self) -> None:
        while True:
            assert self._process is not None
            while self._process.poll() is None:
                await asyncio.sleep(0.1)
            if self.exit_code == GAVE_UP:
                log.error("%s gave up and is not started again: %s", self.name, self.last_words(1))
                return
            log.warning("%s ended (status %s): starting it again", self.name, self.exit_code)
            await asyncio.sleep(_RESTART_SECONDS)
            self.restarts += 1
            self._spawn()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
