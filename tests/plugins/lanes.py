"""Two tests at a time: `pytest --lanes 2`, as `make test` does.

Lanes are processes. Each takes the next group of tests when it has done with one: the tests of a
file, or those marked with the same `lane`, which share fixtures and may say in which order. This
process is a lane too; it shows what the others report as if it had run those tests itself. Tests
marked `alone` measure time and come last, when the other lanes have ended.

pytest-xdist 3.8 would do most of this, but its groups have no effect under pytest 9.2: it renames
tests by an attribute that pytest no longer reads.
"""

import contextlib
import itertools
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tests.processes import keep

_DESCRIPTOR = "TEST_LANE"
_PATIENCE = 60.0
"""Seconds in which a lane has to end what its fixtures have started."""

Group = list[pytest.Item]
Reported = tuple[str, Any, list[dict[str, Any]]]
"""A test's id, where it is, and its reports."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lanes", type=int, default=1, help="how many tests may run at a time")


def pytest_configure(config: pytest.Config) -> None:
    for mark in (
        "lane(name, place=0): runs in one process with others of this name, lower places first",
        "alone: measures time, so nothing else may run meanwhile",
    ):
        config.addinivalue_line("markers", mark)
    if descriptor := os.environ.pop(_DESCRIPTOR, None):
        config.pluginmanager.register(Lane(config, int(descriptor)))
    elif config.option.lanes > 1 and not config.option.collectonly:
        config.pluginmanager.register(Lanes(config))


def grouped(items: Iterable[pytest.Item]) -> list[Group]:
    """Groups in the order in which they are to be started: what takes long first."""
    groups: dict[str, list[tuple[int, pytest.Item]]] = {}
    for item in items:
        mark = item.get_closest_marker("lane")
        name, place = (*mark.args, 0)[:2] if mark else (item.nodeid.partition("::")[0], 0)
        groups.setdefault(name, []).append((place, item))
    ordered = [
        [item for _, item in sorted(group, key=lambda entry: entry[0])] for group in groups.values()
    ]
    return sorted(ordered, key=lambda group: "integration" not in group[-1].keywords)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    last = [item for item in items if "alone" in item.keywords]
    rest = grouped(item for item in items if "alone" not in item.keywords)
    items[:] = [*itertools.chain.from_iterable(rest), *last]


def taken(groups: deque[list[str]]) -> list[str]:
    """The next group, for one lane; none when all have been taken."""
    try:
        return groups.popleft()
    except IndexError:
        return []


def run(session: pytest.Session, group: Group) -> Iterator[pytest.Item]:
    """Run these tests; yields each before it is run.

    Which group is next is not known before the last of this one has run, but that fixtures of the
    session will be needed on, and those of this file not. So it ends as if a test followed that
    is as far away in the tree as any.
    """
    here = group[-1].path
    elsewhere = [item for item in session.items if item.path != here]
    farthest = min(elsewhere, key=lambda item: _shared(item.path, here), default=None)
    for item, following in itertools.pairwise([*group, farthest]):
        assert item is not None
        yield item
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)


def _shared(path: Path, other: Path) -> int:
    """How many folders hold both."""
    return len(set(path.parents).intersection(other.parents))


class Lane:
    """This process runs what another one sends it, and reports to it."""

    def __init__(self, config: pytest.Config, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._config, self._to = config, Connection(descriptor)
        self._reports: list[dict[str, Any]] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        while names := self._next():
            for _ in run(session, [items[name] for name in names]):
                pass
        return True

    def _next(self) -> list[str]:
        self._to.send(None)
        return self._to.recv()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        hook = self._config.hook
        self._reports.append(hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_runtest_logfinish(self, nodeid: str, location: object) -> None:
        reports, self._reports = self._reports, []
        self._to.send((nodeid, location, reports))


class Lanes:
    """This process hands out groups, and takes its share."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._others: list[Other] = []
        self._said: list[str] = []
        self._groups: deque[list[str]] = deque()
        self._reports: queue.SimpleQueue[Reported] = queue.SimpleQueue()

    def pytest_sessionstart(self) -> None:
        for _ in range(self._config.option.lanes - 1):
            self._others.append(Other(self._config, self._groups, self._reports))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:  # while collecting
            return None
        items = {item.nodeid: item for item in session.items}
        last = [item for item in session.items if "alone" in item.keywords]
        for group in grouped(item for item in session.items if "alone" not in item.keywords):
            self._groups.append([item.nodeid for item in group])
        for other in self._others:
            other.thread.start()
        while names := taken(self._groups):
            for _ in run(session, [items[name] for name in names]):
                self._show()
        self._join(session)
        if last:
            for _ in run(session, last):
                pass
        return True

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for other in self._others:
            if session.shouldfail:
                self._said.append(other.output())
            other.end()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for said in self._said:
            terminalreporter.section("said in another lane")
            terminalreporter.write(said)

    def _join(self, session: pytest.Session) -> None:
        """Show what the other lanes report until they have ended."""
        while any(other.thread.is_alive() for other in self._others):
            self._show(0.1)
        self._show()
        for other in self._others:
            if fault := other.fault():
                session.shouldfail = fault
                raise session.Failed(fault)

    def _show(self, wait: float = 0.0) -> None:
        hook = self._config.hook
        while True:
            try:
                nodeid, location, reports = self._reports.get(wait > 0, wait)
            except queue.Empty:
                return
            hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
            for data in reports:
                report = hook.pytest_report_from_serializable(config=self._config, data=data)
                hook.pytest_runtest_logreport(report=report)
            hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)


class Other:
    """Another lane's process, and the thread that talks with it."""

    def __init__(
        self, config: pytest.Config, groups: deque[list[str]], reports: queue.SimpleQueue[Reported]
    ) -> None:
        self._groups, self._reports = groups, reports
        self._open: set[str] = set()
        self._failed = False
        self._closing = contextlib.ExitStack()
        folder = self._closing.enter_context(tempfile.TemporaryDirectory())
        self._output = Path(folder) / "output"
        to, theirs = Pipe()
        self._to = self._closing.enter_context(to)
        called = config.invocation_params
        command = [sys.executable, "-m", "pytest", *map(str, called.args)]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "-p", "no:cacheprovider"], cwd=called.dir, pass_fds=[theirs.fileno()],
                env={**os.environ, _DESCRIPTOR: str(theirs.fileno())},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        keep(self._process)
        theirs.close()
        self.thread = threading.Thread(target=self._serve)

    def fault(self) -> str:
        """Wait for its end; what was wrong with it, other than tests that it has reported."""
        status = self._process.wait(_PATIENCE)
        if not self._open and status == (pytest.ExitCode.TESTS_FAILED if self._failed else 0):
            return ""
        return f"a lane ended with status {status}, {len(self._open)} tests not done"

    def output(self) -> str:
        """The end of what it has written, which is of interest when it failed."""
        return self._output.read_text(errors="replace")[-4000:]

    def end(self) -> None:
        """End it if it still runs, its fixtures first."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self.thread.is_alive():
            self.thread.join()
        self._closing.close()

    def _serve(self) -> None:
        with contextlib.suppress(EOFError, OSError):  # it has ended
            while True:
                message = self._to.recv()
                if message is None:
                    self._hand_out()
                else:
                    self._take_in(message)

    def _hand_out(self) -> None:
        names = taken(self._groups)
        self._open.update(names)
        self._to.send(names)

    def _take_in(self, reported: Reported) -> None:
        self._open.discard(reported[0])
        self._failed |= any(report["outcome"] == "failed" for report in reported[2])
        self._reports.put(reported)
