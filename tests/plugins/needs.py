"""A test says what it needs beside Python: `@pytest.mark.needs("chromium")`.

What is missing is noticed before any fixture starts anything. The test is then skipped, and the end
of the run says what was left out; in CI it fails, unless `TESTS_WITHOUT` names the package.
"""

import os
from collections import Counter

import pytest

from tests.programs import BY_FIXTURE, NEEDS, there

_PROPERTY = "missing"


def needs(item: pytest.Item) -> list[str]:
    marked = [str(name) for mark in item.iter_markers("needs") for name in mark.args]
    for fixture in getattr(item, "fixturenames", ()):
        marked += BY_FIXTURE.get(fixture, [])
    return list(dict.fromkeys(marked))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(name, ...): what it needs; see tests/programs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if unknown := [name for name in needs(item) if name not in NEEDS]:
            raise pytest.UsageError(f"{item.nodeid} needs {unknown}; see tests/programs.py")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = [name for name in needs(item) if not there(name)]
    if not missing:
        return
    allowed = os.environ.get("TESTS_WITHOUT", "").split()
    if os.environ.get("CI") and any(NEEDS[name].package not in allowed for name in missing):
        pytest.fail(f"{', '.join(missing)} missing; see .ci/run", pytrace=False)
    item.user_properties += [(_PROPERTY, name) for name in missing]
    pytest.skip(f"needs {', '.join(missing)}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    missed = Counter(
        value
        for report in terminalreporter.stats.get("skipped", ())
        for name, value in report.user_properties
        if name == _PROPERTY
    )
    if missed:
        terminalreporter.section("left out")
        for name, count in sorted(missed.items()):
            terminalreporter.line(
                f"{count:4} tests need {name}, which is missing here: {NEEDS[name].remedy}"
            )
