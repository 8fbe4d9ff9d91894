"""Mathematical equality by math-verify, in a worker process that can be killed.

Parsing and simplifying untrusted text may never end or exhaust memory: a worker that overruns its
deadline is replaced, and the answer that stalled the parser is not parsed again.
"""

import contextlib
import logging
import multiprocessing
import queue
import resource
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any, TypeAlias

from rewards.answers.judging.time_budget import OutOfTime, TimeBudget, current_budget
from rewards.answers.mathematics import comparable, equivalent, expressions_in

Pipe: TypeAlias = "Connection[Any, Any]"
Worker: TypeAlias = tuple[ForkServerProcess, Pipe]

_START_SECONDS = 60.0
_MEMORY_BYTES = 2 << 30
_MAX_REFUSED = 1_024
_MAX_CHARS = 4_000
"""Of an answer: nobody's mathematics is longer."""
_FIRST, _SECOND, _BOTH = range(3)


@dataclass(slots=True)
class _Place:
    """Room for one worker, which starts when it is needed."""

    worker: Worker | None = None

    def kill(self) -> None:
        """Kill the worker, if there is one."""
        if self.worker is not None:
            (process, pipe), self.worker = self.worker, None
            process.kill()
            process.join()
            process.close()
            pipe.close()


class MathJudge(contextlib.AbstractContextManager["MathJudge"]):
    """Callable: whether two answers mean the same. Any doubt, failure or overrun is a no; raises
    OutOfTime if the context's budget is spent before its deadline for one pair.

    `deadline`: seconds for one pair. `killed` counts the workers that were killed. Thread-safe;
    there are as many pairs judged at a time as there are `workers`. Close it, or use it as a
    context manager.
    """

    def __init__(self, deadline: float = 1.0, workers: int = 1) -> None:
        self.deadline = deadline
        self.killed = 0
        self._lock = threading.Lock()
        self._refused: OrderedDict[str, None] = OrderedDict()
        self._places = [_Place() for _ in range(workers)]
        self._free: queue.LifoQueue[_Place] = queue.LifoQueue()
        for place in self._places:
            self._free.put(place)

    def __call__(self, first: str, second: str) -> bool:
        if max(len(first), len(second)) > _MAX_CHARS:
            return False
        if first in self._refused or second in self._refused:
            return False
        budget = current_budget()
        with self._taken(budget) as place:
            pipe = (place.worker or _started(place))[1]
            began, left = time.monotonic(), budget.left(self.deadline)
            stage = _FIRST
            try:
                pipe.send((first, second))
                ends = began + min(left, self.deadline)
                while pipe.poll(max(0.0, ends - time.monotonic())):
                    message: int | bool = pipe.recv()
                    if isinstance(message, bool):
                        return message
                    stage = message
            except (EOFError, OSError):
                left = self.deadline  # the input crashed the worker
            finally:
                budget.spend(time.monotonic() - began)
            place.kill()
        with self._lock:
            self.killed += 1
            if left < self.deadline:
                raise OutOfTime
            if stage != _BOTH:
                self._refused[(first, second)[stage]] = None
                if len(self._refused) > _MAX_REFUSED:
                    self._refused.popitem(last=False)
        return False

    @property
    def pid(self) -> int | None:
        """Process id of a worker, if there is one."""
        return next((one.worker[0].pid for one in self._places if one.worker is not None), None)

    def close(self) -> None:
        """Kill the workers, each when it has judged what it is at."""
        taken = [self._free.get() for _ in self._places]
        for place in taken:
            place.kill()
            self._free.put(place)

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _taken(self, budget: TimeBudget) -> Generator[_Place]:
        """A place of one's own. Raises OutOfTime."""
        left = budget.left(self.deadline)
        try:
            place = self._free.get(left > 0, left)
        except queue.Empty:
            raise OutOfTime from None
        try:
            if budget.left(self.deadline) <= 0:
                raise OutOfTime
            yield place
        finally:
            self._free.put(place)


def _started(place: _Place) -> Worker:
    place.worker = _start()
    return place.worker


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
