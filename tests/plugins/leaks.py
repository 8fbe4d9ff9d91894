"""Each test ends the processes that it starts; one that is left running fails it, and is ended.

A process that a fixture of wider scope starts belongs to that fixture, and has to be gone with it.
"""

import signal
from collections.abc import Generator
from typing import Any

import pytest

from tests.processes import adopt_orphans, left_running, owners, running

_LEFT: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("leak_patience", "seconds in which a process may end by itself", default="5")


def pytest_configure() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # fixtures end what they started
    adopt_orphans()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    if fixturedef.scope == "function":
        return (yield)
    before = running()
    made = yield
    for pid in running().keys() - before.keys():
        owners.setdefault(pid, fixturedef)
    return made


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[Any]) -> None:
    for pid in [pid for pid, owner in owners.items() if owner is fixturedef]:
        del owners[pid]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    yield
    if left := left_running(float(item.config.getini("leak_patience"))):
        pytest.fail(f"{item.nodeid} left running: {left}", pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    owners.clear()
    if left := left_running(float(session.config.getini("leak_patience"))):
        _LEFT.append(left)
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for left in _LEFT:
        terminalreporter.section("left running", red=True)
        terminalreporter.line(f"ended now: {left}")
