"""Programs from outside that some tests need: in CI they must be there, elsewhere tests tell which
they miss."""

import os
import shutil
import sys
from pathlib import Path

import pytest

_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def program(*names: str) -> str:
    """Path of the first of these that is installed; skips the test, or in CI fails it."""
    for name in names:
        if found := shutil.which(name, path=_PATH):
            return found
    missing = f"none of {', '.join(names)} is installed; see .ci/run"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
