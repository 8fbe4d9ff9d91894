"""Mathematical equality by math-verify, in a worker process that can be killed.

Parsing and simplifying what strangers write may take for ever or eat all memory; a worker that
overruns its deadline is replaced, and the answer that stalled its parser is never parsed again.
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
from types import TracebackType
from typing import Any

from rewards.answers.mathematics import comparable, equivalent, expressions_in

_START_SECONDS = 60.0
_MEMORY_BYTES = 2 << 30
_MAX_REFUSED = 4_096
_FIRST, _SECOND, _BOTH = range(3)


class MathJudge:
    """Callable: do two answers mean the same? Any doubt, failure or overrun is a no.

    `deadline`: seconds one pair may take. `killed` counts the workers that had to be ended.
    Thread-safe; pairs are judged one at a time. Close it, or use it as a context manager.
    """

    def __init__(self, deadline: float = 1.0) -> None:
        self.deadline = deadline
        self.killed = 0
        self._lock = threading.Lock()
        self._refused: OrderedDict[str, None] = OrderedDict()
        self._worker: tuple[ForkServerProcess, Connection[Any, Any]] | None = None

    def __call__(self, first: str, second: str) -> bool:
        with self._lock:
            if first in self._refused or second in self._refused:
                return False
            if self._worker is None:
                self._worker = _start()
            process, pipe = self._worker
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
                pass  # it died of what it was given
            self.killed += 1
            if stage != _BOTH:
                self._refuse((first, second)[stage])
            self._end(process, pipe)
            return False

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            if self._worker is not None:
                self._end(*self._worker)

    def __enter__(self) -> "MathJudge":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _refuse(self, answer: str) -> None:
        self._refused[answer] = None
        if len(self._refused) > _MAX_REFUSED:
            self._refused.popitem(last=False)

    def _end(self, process: ForkServerProcess, pipe: "Connection[Any, Any]") -> None:
        self._worker = None
        process.kill()
        process.join()
        process.close()
        pipe.close()


def _start() -> "tuple[ForkServerProcess, Connection[Any, Any]]":
    """A worker forked from a server that has math-verify imported: a second once, then 20 ms."""
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


def _work(pipe: "Connection[Any, Any]") -> None:
    """The worker: pairs in; which answer is being parsed, then the verdict, out."""
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
