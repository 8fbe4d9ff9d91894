"""Every experiment, small: alive, gone on with, and written into a page."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from evals.experiments.__main__ import EXPERIMENTS

pytestmark = pytest.mark.integration
REAL = "--task products --method SR-TTRL --method 'random reward'"


def experiments(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "evals.experiments", *map(str, arguments)],
        capture_output=True, text=True, timeout=400,
    )  # fmt: skip


@pytest.mark.timeout(450)
def test_all_of_them(tmp_path: Path) -> None:
    records, page = tmp_path / "records.jsonl", tmp_path / "results.md"
    page.write_text(
        "".join(f"<!-- {name}: begin --><!-- {name}: end -->\n" for name in EXPERIMENTS)
    )
    common = ["--quick", "--seeds", 2, "--records", records]
    common += shlex.split(REAL)
    done = experiments(*common, "--write", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    for name, experiment in EXPERIMENTS.items():
        assert f"### {experiment.title}\n" in text
        flags = f" {REAL}" if name == "real" else ""
        assert f"`python -m evals.experiments {name}{flags}`, seeds 0, 1" in text
    pictures = {file.name for file in (tmp_path / "images" / "results").iterdir()}
    for picture in pictures:
        assert f"images/results/{picture}" in text
    assert len(pictures) == text.count("](images/results/")

    # Nothing is run twice; a course whose line was cut off is.
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[:-1]) + lines[-1][:50])
    last = json.loads(lines[-1])
    again = experiments(*common)
    assert again.returncode == 0
    assert f"line {len(lines)} cannot be read" in again.stdout
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    assert len(rows) == len(lines)
    result = "tests" if "tests" in last else "scores"
    assert (rows[-1]["course"], rows[-1][result]) == (last["course"], last[result])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("svamp=nowhere.jsonl", "--source svamp: nowhere.jsonl: No such file"),
        ("products=x.jsonl", "--source products: no task of that name wants data"),
        ("svamp={}", 'line 2: column "answer": is missing'),
    ],
)
def test_data_that_cannot_be_used_are_told_before_anything_runs(
    tmp_path: Path, source: str, told: str
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"question": "2 + 2?", "answer": "4"}\n{"question": "3 + 3?"}\n')
    done = experiments("real", "--source", source.format(file))
    assert done.returncode == 2
    assert told in done.stderr


def test_an_unknown_name_is_told() -> None:
    done = experiments("methods", "magic")
    assert done.returncode == 2
    assert "no experiment 'magic'; there are methods" in done.stderr
