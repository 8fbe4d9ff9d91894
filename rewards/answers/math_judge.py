"""Mathematical equality by math-verify, in a worker process that can be killed.

Parsing and simplifying untrusted text may never end or exhaust memory: a worker that overruns its
deadline is replaced, and the answer that stalled the parser is not parsed again.
"""

import contextlib
import logging
import multiprocessing
import resource
import signal
import threading
import time
from collections import OrderedDict
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any, TypeAlias

from rewards.answers.mathematics import comparable, equivalent, expressions_in

Pipe: TypeAlias = "Connection[Any, Any]"
Worker: TypeAlias = tuple[ForkServerProcess, Pipe]

_START_SECONDS = 60.0
_MEMORY_BYTES = 2 << 30
_MAX_REFUSED = 4_096
_FIRST, _SECOND, _BOTH = range(3)


class MathJudge(contextlib.AbstractContextManager["MathJudge"]):
    """Callable: whether two answers mean the same. Any doubt, failure or overrun is a no.

    `deadline`: seconds for one pair. `killed` counts the workers that were killed. Thread-safe;
    pairs are judged one at a time. Close it, or use it as a context manager.
    """

    def __init__(self, deadline: float = 1.0) -> None:
        self.deadline = deadline
        self.killed = 0
        self._lock = threading.Lock()
        self._refused: OrderedDict[str, None] = OrderedDict()
        self._worker: Worker | None = None

    def __call__(self, first: str, second: str) -> bool:
        with self._lock:
            if first in self._refused or second in self._refused:
                return False
            self._worker = self._worker or _start()
            pipe = self._worker[1]
            stage = _FIRST
            try:
                pipe.send((first, second))
                ends = time.monotonic() + self.deadline
                while pipe.poll(max(0.0, ends - time.monotonic())):
                    message: int | bool = pipe.recv()
                    if isinstance(message, bool):
                        return message
                    stage = message
            except (EOFError, OSError):
                pass  # the input crashed the worker
            self.killed += 1
            if stage != _BOTH:
                self._refused[(first, second)[stage]] = None
                if len(self._refused) > _MAX_REFUSED:
                    self._refused.popitem(last=False)
            self._kill()
            return False

    @property
    def pid(self) -> int | None:
        """Process id of the worker, if there is one."""
        return self._worker and self._worker[0].pid

    def close(self) -> None:
        """Kill the worker."""
        with self._lock:
            self._kill()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _kill(self) -> None:
        if self._worker is not None:
            (process, pipe), self._worker = self._worker, None
            process.kill()
            process.join()
            process.close()
            pipe.close()


def _start() -> Worker:
    """A worker, forked where math-verify is already imported: a second once, then 20 ms."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["math_verify"])
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), name="math-judge", daemon=True)
    process.start()
    theirs.close()
    if not ours.poll(_START_SECONDS):
        process.kill()
        raise RuntimeError("math-verify did not start within a minute")
    ours.recv()
    return process, ours


def _work(pipe: Pipe) -> None:
    """The worker: receives pairs; sends which answer it is parsing, then the verdict."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    logging.disable()
    pipe.send(None)
    with contextlib.suppress(EOFError):
        while True:
            first, second = pipe.recv()
            verdict = False
            with contextlib.suppress(Exception):
                left = expressions_in(first)
                pipe.send(_SECOND)
                right = expressions_in(second)
                pipe.send(_BOTH)
                verdict = comparable(first, second) and equivalent(left, right)
            pipe.send(verdict)
