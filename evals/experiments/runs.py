"""Runs courses in several processes, keeps every finished one, and resumes after a stop."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol, Self

from tqdm import tqdm

from evals.experiments.course import Record


class AnyCourse(Protocol):
    """What can be run: all that its result depends on is in its `key`."""

    @property
    def model(self) -> str:
        """The base that it starts from."""
        ...

    @property
    def alone(self) -> bool:
        """Whether it takes all cores."""
        ...

    def run(self) -> Record:
        """Its result."""
        ...

    def quick(self) -> Self:
        """The same in seconds."""
        ...

    def of_seed(self, seed: int) -> Self:
        """The same with another seed."""
        ...

    def key(self) -> dict[str, Any]:
        """What its result depends on."""
        ...


class Records:
    """The courses run so far: a JSON line each in a file, read again at the next start."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, dict[str, Any]] = {}
        self._damaged = False
        if file.is_file():
            for number, line in enumerate(file.read_text().splitlines(), 1):
                try:
                    one = json.loads(line)
                    self._known[_key(one["course"])] = one
                except (ValueError, KeyError):  # the last line of a run that was killed
                    print(f"{file}: line {number} cannot be read; its course is run again")
                    self._damaged = True

    def missing(self, courses: Sequence[AnyCourse]) -> list[AnyCourse]:
        """Those of the given courses that have not been run, each once."""
        wanted = {_key(course.key()): course for course in courses}
        return [course for key, course in wanted.items() if key not in self._known]

    def run(self, courses: Sequence[AnyCourse], workers: int) -> None:
        """Run what is missing. A failing course ends the run; finished ones are kept."""
        todo = self.missing(courses)
        for alone in (False, True):
            if some := [course for course in todo if course.alone == alone]:
                self._run(some, 1 if alone else workers)

    def _run(self, todo: Sequence[AnyCourse], workers: int) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if self._damaged:
            whole = self._file.with_suffix(".tmp")
            whole.write_text("".join(json.dumps(one) + "\n" for one in self._known.values()))
            whole.replace(self._file)
        made = {"commit": _commit(), "machine": _machine()}
        context = multiprocessing.get_context("spawn")
        with (
            ProcessPoolExecutor(workers, context, initializer=_quiet_worker) as pool,
            self._file.open("a") as file,
            tqdm(total=len(todo), unit="course", mininterval=5) as bar,
        ):
            waiting: dict[Future[Record], AnyCourse] = {
                pool.submit(course.run): course for course in todo
            }
            try:
                for future in as_completed(waiting):
                    course = waiting[future].key()
                    one: dict[str, Any] = {"course": course, **made, **future.result()}
                    self._known[_key(course)] = one
                    file.write(json.dumps(one) + "\n")
                    file.flush()
                    bar.update(1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def of(self, course: AnyCourse, seeds: Sequence[int]) -> list[Record]:
        """One record a seed. KeyError if one has not been run."""
        return [self._known[_key(course.of_seed(seed).key())] for seed in seeds]

    def origin(self, courses: Sequence[AnyCourse]) -> tuple[str, str]:
        """Commits and machines that the courses ran on, as text."""
        ran = [self._known[_key(course.key())] for course in courses]
        return (
            ", ".join(sorted({one["commit"] for one in ran})),
            "; ".join(sorted({one["machine"] for one in ran})),
        )

    def seconds(self, courses: Sequence[AnyCourse]) -> float:
        """Process time of all courses."""
        return sum(self._known[_key(course.key())]["seconds"] for course in courses)


def _key(course: Mapping[str, Any]) -> str:
    return json.dumps(course, sort_keys=True)


def _quiet_worker() -> None:
    """In each worker: no progress bars; the parent handles Ctrl-C."""
    import signal

    from transformers.utils import logging

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable_progress_bar()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, " + (
        "GPU not used" if sys.platform == "linux" else sys.platform
    )
