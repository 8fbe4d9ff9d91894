"""Locust's scenarios, a few seconds of each."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway import gateway


@pytest.mark.integration
@pytest.mark.parametrize("scenario", ["steady", "mixed", "burst"])
def test_nothing_fails(tmp_path: Path, scenario: str) -> None:
    with gateway(tmp_path) as server:
        bounds = [] if scenario == "burst" else ["-u", "4", "-r", "4"]
        done = subprocess.run(
            [
                sys.executable, "-m", "locust", "-f", f"loadtests/{scenario}.py", "--headless",
                "-H", server.root, "-t", "4s", "--csv", str(tmp_path / "run"), *bounds,
            ],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = list(csv.DictReader((tmp_path / "run_stats.csv").read_text().splitlines()))
    assert rows[-1]["Name"] == "Aggregated"
    assert int(rows[-1]["Request Count"]) > 20
    assert int(rows[-1]["Failure Count"]) == 0
