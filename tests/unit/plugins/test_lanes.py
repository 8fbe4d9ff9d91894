"""Two lanes run two files at once, and their reports come out as one run's."""

from pathlib import Path

from tests.unit.plugins.tiny_runs import run

MEETING = """
import os, time
from pathlib import Path

def meet(me, other):
    \"\"\"Both are running now; whether this one is the other one's child.\"\"\"
    Path(me).write_text(str(os.getpid()))
    os.rename(me, f"{me}.there")
    while not Path(f"{other}.there").exists():
        time.sleep(0.01)
    return os.getppid() == int(Path(f"{other}.there").read_text())
"""


def files(ending: str) -> dict[str, str]:
    return {
        me: f"{MEETING}\ndef test_{me}():\n    child = meet('{me}', '{other}')\n    {ending}\n"
        for me, other in (("a", "b"), ("b", "a"))
    }


def test_they_run_at_once(tmp_path: Path) -> None:
    done = run(tmp_path, files("assert child in (True, False)"), "lanes", "--lanes", "2")
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout


def test_a_failure_in_the_other_lane_fails_the_run_by_name(tmp_path: Path) -> None:
    done = run(tmp_path, files("assert not child, 'as it should'"), "lanes", "--lanes", "2")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "AssertionError: as it should" in done.stdout


def test_a_lane_that_dies_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, files("child and os._exit(7)"), "lanes", "--lanes", "2")
    assert done.returncode == 1
    assert "a lane ended with status 7, 1 tests not done" in done.stdout


def test_a_process_left_in_the_other_lane_fails_its_test(tmp_path: Path) -> None:
    leak = "child and __import__('subprocess').Popen(['sleep', '1000'])"
    done = run(tmp_path, files(leak), "lanes leaks", "--lanes", "2")
    assert done.returncode == 1
    assert "2 passed, 1 error" in done.stdout


def test_what_the_other_lane_left_out_is_in_the_list(tmp_path: Path) -> None:
    texts = {
        name: f"import pytest\n{MEETING}\n{text}"
        for name, text in {
            "a": "def test_a(): meet('a', 'b')\n@pytest.mark.needs('curl')\ndef test_a2(): pass\n",
            "b": "def test_b(): meet('b', 'a')\n@pytest.mark.needs('curl')\ndef test_b2(): pass\n",
        }.items()
    }
    done = run(tmp_path, texts, "lanes needs", "--lanes", "2", PATH=str(tmp_path))
    assert (done.returncode, "2 passed, 2 skipped" in done.stdout) == (0, True), done.stdout
    assert "   2 tests need curl" in done.stdout


def test_one_lane_s_tests_stay_together_and_those_that_measure_come_last(tmp_path: Path) -> None:
    """Each notes its process; the one that is alone waits for all others to have ended."""
    note = "import os, pytest\nfrom pathlib import Path\n"
    texts = {
        name: f"{note}{mark}\ndef test_{name}(): Path('pid-{name}').write_text(str(os.getpid()))\n"
        for name, mark in {
            "a": "@pytest.mark.lane('x', 1)", "b": "", "c": "@pytest.mark.lane('x')", "d": "",
        }.items()
    }  # fmt: skip
    texts["alone"] = f"""{note}
@pytest.mark.alone
def test_alone():
    assert len(list(Path().glob('pid-*'))) == 4
    first, second = Path('pid-c').stat(), Path('pid-a').stat()
    assert Path('pid-a').read_text() == Path('pid-c').read_text()
    assert first.st_mtime_ns < second.st_mtime_ns
"""
    done = run(tmp_path, texts, "lanes", "--lanes", "2")
    assert (done.returncode, "5 passed" in done.stdout) == (0, True), done.stdout


def test_a_lane_may_go_on_in_any_folder(tmp_path: Path) -> None:
    """The first test of all shares a folder with those after it; the last are in another one."""
    for folder, names in (("one", "abcd"), ("two", "ef")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"test_{name}.py").write_text("def test(): pass\n")
    first = "import pytest\npytestmark = pytest.mark.integration\ndef test(): pass\n"
    (tmp_path / "one" / "test_a.py").write_text(first)
    done = run(tmp_path, {}, "lanes", "--lanes", "2")
    assert (done.returncode, "6 passed" in done.stdout) == (0, True), done.stdout
