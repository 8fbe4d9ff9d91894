"""Everything that an image installs is pinned by hash, and listed."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.references import ROOT
from deploy.sbom import TARGETS, sbom

LOCK = ROOT / "deploy" / "lock"
LOCKS = sorted(LOCK.glob("*.txt"))
CLIENTS = ROOT / "deploy" / "clients"


def entries(file: Path) -> list[str]:
    return [one for one in re.split(r"\n(?=\S)", file.read_text()) if not one.startswith("#")]


@pytest.mark.parametrize("file", [*LOCKS, CLIENTS / "requirements.txt"], ids=lambda file: file.name)
def test_every_entry_has_a_version_and_hashes(file: Path) -> None:
    for entry in entries(file):
        assert re.match(r"[\w.-]+==[\w.+]+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_clients_for_node_are_pinned_by_hash() -> None:
    locked = json.loads((CLIENTS / "package-lock.json").read_text())["packages"]
    wanted = json.loads((CLIENTS / "package.json").read_text())["dependencies"]
    assert locked.pop("")["dependencies"] == wanted
    assert {f"node_modules/{name}" for name in wanted} <= locked.keys()
    assert all(one["integrity"].startswith("sha512-") for one in locked.values())


def test_every_client_that_is_asked_for_is_pinned() -> None:
    wanted = (CLIENTS / "requirements.in").read_text().splitlines()
    names = {line.partition("[")[0] for line in wanted if not line.startswith("#")}
    pinned = {entry.partition("==")[0] for entry in entries(CLIENTS / "requirements.txt")}
    assert names <= pinned


def test_torch_is_of_one_version_everywhere() -> None:
    wanted = re.search(r'"torch==([0-9.]+)"', (ROOT / "pyproject.toml").read_text())
    assert wanted is not None
    pins = {build: entries(LOCK / f"torch-{build}.txt") for build in ("cpu", "cuda")}
    assert [entry.split()[0] for entry in pins["cpu"]] == [f"torch=={wanted[1]}+cpu"]
    [torch] = [entry.split()[0] for entry in pins["cuda"] if entry.startswith("torch==")]
    assert torch == f"torch=={wanted[1]}"
    assert any(entry.startswith("nvidia-cudnn") for entry in pins["cuda"])


def test_nothing_is_installed_without_a_hash() -> None:
    installers = ("deploy/lock/install_torch.sh", "deploy/clients/install.sh")
    for file in ("Dockerfile", "Makefile", *installers):
        for line in re.findall(r"pip install.*", (ROOT / file).read_text()):
            ours = "--no-build-isolation -e ." in line  # which the setuptools of the lock builds
            assert "--require-hashes" in line or ours, f"{file}: {line}"


@pytest.mark.parametrize("index", ["configured", "pytorch", "neither"])
def test_torch_is_asked_for_by_hash_wherever_it_is(tmp_path: Path, index: str) -> None:
    """With a `python` that writes down what it is asked, and finds the CPU build there or not."""
    for file in LOCKS:
        shutil.copy(file, tmp_path)
    shutil.copy(LOCK / "install_torch.sh", tmp_path)
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\n[ "$1" = -c ] && exit 1\n'
        f'echo "$@" >>{tmp_path}/asked\n'
        'case "$INDEX $*" in configured*|*cuda.txt) exit 0;; pytorch*--index-url*) exit 0;; esac\n'
        "exit 1\n"
    )
    python.chmod(0o755)
    environment = {**os.environ, "INDEX": index}
    subprocess.run([tmp_path / "install_torch.sh", python], env=environment, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 1 + ["configured", "pytorch", "neither"].index(index)
    for line in asked:
        assert "--require-hashes" in line and "--no-deps" in line
    last = "torch-cuda.txt" if index == "neither" else "torch-cpu.txt"
    assert asked[-1].endswith(last)


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_s_document_lists_its_lock(target: str) -> None:
    document = sbom(target)
    assert document == sbom(target)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    image, *packages = document["components"]
    assert (image["type"], image["name"]) == ("container", "python")
    pinned = {entry.split()[0] for entry in entries(LOCK / f"{target}.txt")}
    listed = {f"{one['name']}=={one['version']}" for one in packages}
    torch = {entry.split()[0] for entry in entries(LOCK / "torch-cpu.txt")}
    assert listed - pinned == (torch if target != "server" else set())
    assert pinned <= listed
    references = [one["bom-ref"] for one in document["components"]]
    assert len(references) == len(set(references))
    assert all(one["externalReferences"][0]["hashes"] for one in packages)
    assert json.loads(json.dumps(document)) == document


def test_the_cuda_build_brings_what_it_needs() -> None:
    names = {one["name"] for one in sbom("adapter", "cuda")["components"]}
    assert {"torch", "triton", "nvidia-nccl-cu13"} <= names


def test_secrets_and_one_s_own_settings_are_not_tracked() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    assert "deploy/.env" in ignored
    assert (ROOT / "deploy" / ".env.example").is_file()
    assert "deploy/.env.example" in (ROOT / "docs" / "quickstart.md").read_text()
    assert "report" in (ROOT / "SECURITY.md").read_text().lower()
