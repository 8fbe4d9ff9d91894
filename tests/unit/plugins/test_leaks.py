"""A process that a test leaves running fails that test, by name, and does not outlive the run."""

import re
from pathlib import Path

import psutil
import pytest

from tests.unit.plugins.tiny_runs import run

HEAD = """
import subprocess
import pytest

def sleep(seconds=1000):
    return subprocess.Popen(["sleep", str(seconds)])
"""


def ended(output: str, count: int) -> bool:
    """Whether that many processes are named, and none of them runs."""
    found = re.findall(r"(\d+) \((?:sh|sleep) ", output)
    return len(set(found)) == count and not any(psutil.pid_exists(int(pid)) for pid in found)


@pytest.mark.parametrize(
    "leak",
    ["sleep()", "subprocess.run(['sh', '-c', 'sleep 1000 &'])"],
    ids=["a child", "what a child has left"],
)
def test_it_fails_the_test_that_started_it_and_no_other(tmp_path: Path, leak: str) -> None:
    text = f"def test_before(): pass\n\ndef test_leaks(): {leak}\n\ndef test_after(): pass\n"
    done = run(tmp_path, {"one": HEAD + text}, "leaks")
    assert done.returncode == 1
    assert re.search(r"^ERROR test_one.py::test_leaks - .*left running: \d+ \(sleep 1000\)$",
                     done.stdout, re.MULTILINE)  # fmt: skip
    assert "3 passed, 1 error" in done.stdout
    assert ended(done.stdout, 1)


def test_what_ends_with_its_test_is_no_leak(tmp_path: Path) -> None:
    text = """
def test_waits():
    sleep(0).wait()

def test_kills():
    process = sleep()
    process.kill()
    process.wait()

def test_leaves_it_to_end_by_itself():
    subprocess.run(["sh", "-c", "sleep 0.2 &"])
"""
    done = run(tmp_path, {"one": HEAD + text}, "leaks")
    assert (done.returncode, "3 passed" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize("scope", ["module", "session"])
@pytest.mark.parametrize("ends", [True, False])
def test_a_fixture_keeps_its_process_to_its_own_end(tmp_path: Path, scope: str, ends: bool) -> None:
    text = f"""
@pytest.fixture(scope="{scope}")
def shared():
    process = sleep()
    yield process
    if {ends}:
        process.kill()
        process.wait()

def test_first(shared): assert shared.poll() is None

def test_second(shared): assert shared.poll() is None
"""
    done = run(tmp_path, {"one": HEAD + text}, "leaks")
    assert done.returncode == (0 if ends else 1), done.stdout
    assert "2 passed" in done.stdout
    named = "ERROR test_one.py::test_second - Failed: test_one.py::test_second left running"
    assert (named in done.stdout) is not ends
    assert ended(done.stdout, 0 if ends else 1)


def test_a_run_that_is_terminated_ends_what_it_started(tmp_path: Path) -> None:
    text = """
import os, signal

@pytest.fixture(scope="session")
def shared():
    process = sleep()
    yield process
    process.kill()
    process.wait()
    print("ended by its fixture")

def test_it(shared):
    sleep()
    os.kill(os.getpid(), signal.SIGTERM)
"""
    done = run(tmp_path, {"one": HEAD + text}, "leaks", "-s")
    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert "ended by its fixture" in done.stdout
    assert ended(done.stdout, 1)


@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_a_fixture_that_fails_half_way_leaves_nothing(tmp_path: Path, scope: str) -> None:
    text = f"""
@pytest.fixture(scope="{scope}")
def broken():
    sleep()
    raise OSError("half-way")

def test_it(broken): pass

def test_another(): pass
"""
    done = run(tmp_path, {"one": HEAD + text}, "leaks")
    assert "OSError: half-way" in done.stdout
    assert "test_one.py::test_it left running" in done.stdout
    assert "1 passed, 2 errors" in done.stdout
    assert ended(done.stdout, 1)
