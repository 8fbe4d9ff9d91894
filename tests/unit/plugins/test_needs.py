"""What a test needs is looked for before anything is started for it; what is missing is listed."""

from pathlib import Path

import pytest

from tests.unit.plugins.tiny_runs import run

TEXT = """
from pathlib import Path
import pytest

@pytest.fixture(scope="module")
def started():
    Path("started").touch()

@pytest.mark.needs("chromium", "curl")
def test_of_two(started): pass

@pytest.mark.needs("chromium")
def test_of_one(started): pass

def test_of_nothing(): pass
"""


def test_it_is_left_out_and_the_end_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, {"one": TEXT}, "needs", PATH=str(tmp_path))
    assert done.returncode == 0
    assert "1 passed, 2 skipped" in done.stdout
    assert (
        "   2 tests need chromium, which is missing here: apt-get install chromium" in done.stdout
    )
    assert "   1 tests need curl, which is missing here: apt-get install curl" in done.stdout
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(("without", "failed"), [("", 2), ("chromium", 1), ("curl chromium", 0)])
def test_in_ci_it_fails_unless_that_is_known(tmp_path: Path, without: str, failed: int) -> None:
    environment = {"PATH": str(tmp_path), "CI": "true", "TESTS_WITHOUT": without}
    done = run(tmp_path, {"one": TEXT}, "needs", **environment)
    assert done.returncode == bool(failed)
    assert done.stdout.count("\nERROR ") == failed
    assert not (tmp_path / "started").exists()


def test_what_is_there_is_not_missed(tmp_path: Path) -> None:
    for name in ("chromium", "curl"):
        (tmp_path / name).touch(mode=0o755)
    done = run(tmp_path, {"one": TEXT}, "needs", PATH=str(tmp_path))
    assert "3 passed" in done.stdout
    assert "missing" not in done.stdout
    assert (tmp_path / "started").exists()


def test_nobody_needs_what_nobody_knows(tmp_path: Path) -> None:
    done = run(tmp_path, {"one": TEXT.replace("curl", "crul")}, "needs")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "test_one.py::test_of_two needs ['crul']" in done.stderr
