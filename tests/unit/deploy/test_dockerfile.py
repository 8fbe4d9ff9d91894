"""The Dockerfile's instructions; what they run is run by tests/integration/test_image_steps.py."""

import re
import subprocess

import pytest

from deploy.references import ROOT
from tests.programs import program

TEXT = (ROOT / "Dockerfile").read_text()


def stage(name: str) -> str:
    return TEXT.split(f" AS {name}\n")[1].split("\nFROM ")[0]


@pytest.mark.needs("hadolint")
def test_it_is_linted() -> None:
    done = subprocess.run(
        [program("hadolint"), str(ROOT / "Dockerfile")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_images_are_pinned_and_not_run_by_root() -> None:
    pinned = r"^FROM python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64} AS base$"
    assert re.search(pinned, TEXT, re.MULTILINE)
    assert re.findall(r"^FROM (?!base)", TEXT, re.MULTILINE) == ["FROM "], "the others build on it"
    for name in ("server", "adapter", "cpu"):
        text = stage(name)
        assert "USER 10001:10001" in text
        assert "--require-hashes" in text
        health = text.split("HEALTHCHECK")[1]
        assert "urllib.request" in health and "curl" not in health


def test_the_server_s_image_has_no_torch() -> None:
    assert "install_torch" not in stage("server")
    lock = (ROOT / "deploy" / "lock" / "server.txt").read_text()
    assert not re.search(r"^(torch|transformers|vllm)", lock, re.MULTILINE)
