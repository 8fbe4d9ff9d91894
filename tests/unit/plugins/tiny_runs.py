"""Runs of pytest over tests written for the occasion, with some plugins of ours."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run(
    folder: Path, files: dict[str, str], plugins: str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`files` are the texts of tests by name; `plugins` are files of tests/plugins."""
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    options = "leak_patience = 0.5\n" if "leaks" in plugins else ""
    (folder / "pytest.ini").write_text("[pytest]\n" + options)
    chosen = [word for name in plugins.split() for word in ("-p", f"tests.plugins.{name}")]
    outer = {k: v for k, v in os.environ.items() if k not in ("CI", "TESTS_WITHOUT")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *chosen, *arguments,
         str(folder)],
        env={**outer, "PYTHONPATH": str(ROOT), "COLUMNS": "200",
             "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
