"""The shell lines in the manifests: the model is fetched once, and waited for."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.references import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
HUB = """
import os, pathlib
def snapshot_download(model, ignore_patterns):
    assert "*.bin" in ignore_patterns, "no pickles"
    if model == "org/none":
        raise OSError("no such model")
    pathlib.Path(os.environ["HF_HOME"], "asked").write_text(model)
"""


def pod(file: str) -> dict[str, Any]:
    first = next(yaml.safe_load_all((FOLDER / file).read_text()))
    return first["spec"]["template"]["spec"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A Hub that only notes what it is asked for, and a volume."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "bin" / "huggingface_hub.py").write_text(HUB)
    (tmp_path / "models").mkdir()
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": str(tmp_path / "bin"), "HF_HOME": str(tmp_path / "models")}


def fetch(environment: dict[str, str], model: str) -> int:
    [one] = pod("gpu/fetch.yaml")["containers"]
    done = subprocess.run(
        [*one["command"], *one["args"]], env={**environment, "RATCHET_MODEL": model},
        capture_output=True,
    )  # fmt: skip
    return done.returncode


def waits(environment: dict[str, str], model: str) -> bool:
    """Whether the container that waits still does, after its first look."""
    [one] = pod("gpu/engine.yaml")["initContainers"]
    [line] = one["args"]
    once = line.replace("sleep 10", "exit 1")
    done = subprocess.run(
        [*one["command"], once], env={**environment, "RATCHET_MODEL": model}, capture_output=True
    )
    return done.returncode == 1


def test_what_is_fetched_is_waited_for(environment: dict[str, str]) -> None:
    model = "org/some-model"
    assert waits(environment, model)
    assert fetch(environment, model) == 0
    assert Path(environment["HF_HOME"], "asked").read_text() == model
    assert not waits(environment, model)
    assert waits(environment, "org/another")


def test_what_cannot_be_fetched_leaves_no_mark(environment: dict[str, str]) -> None:
    assert fetch(environment, "org/none") != 0
    assert waits(environment, "org/none")


def test_a_folder_of_the_volume_is_not_fetched(environment: dict[str, str]) -> None:
    folder = Path(environment["HF_HOME"], "mine")
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert fetch(environment, str(folder)) == 0
    assert not Path(environment["HF_HOME"], "asked").exists()
    assert not waits(environment, str(folder))


def test_all_wait_in_the_same_way() -> None:
    group = yaml.safe_load((FOLDER / "multi-node/learner.yaml").read_text())["spec"]
    made = group["leaderWorkerTemplate"]
    specs = [made[f"{role}Template"]["spec"] for role in ("leader", "worker")]
    lines = {
        spec["initContainers"][0]["args"][0]
        for spec in (pod("gpu/engine.yaml"), pod("gpu/adapter.yaml"), *specs)
    }
    assert len(lines) == 1


def test_a_fetch_that_writes_nothing_is_begun_again(environment: dict[str, str]) -> None:
    [one] = pod("gpu/fetch.yaml")["containers"]
    probe = one["livenessProbe"]["exec"]["command"]

    def alive() -> bool:
        return subprocess.run(probe, env=environment, capture_output=True).returncode == 0

    part = Path(environment["HF_HOME"], "blob.incomplete")
    part.write_text("half")
    assert alive()
    for path in (part, part.parent):
        os.utime(path, (0, 0))
    assert not alive()
