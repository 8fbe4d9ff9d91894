"""The Kubernetes manifests as Kustomize builds them, for tests."""

import functools
import subprocess
from collections.abc import Iterator
from typing import Any

import yaml

from deploy.references import ROOT
from tests.programs import program

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("base", "gpu", "multi-node")


@functools.cache
def built(overlay: str) -> str:
    tool = program("kubectl", "kustomize")
    command = [tool, "kustomize" if tool.endswith("kubectl") else "build", str(FOLDER / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def resources(overlay: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(built(overlay)))


def find(overlay: str, kind: str, name: str) -> dict[str, Any]:
    return next(
        one for one in resources(overlay)
        if one["kind"] == kind and one["metadata"]["name"].startswith(name)
    )  # fmt: skip


def templates(resource: Any) -> Iterator[dict[str, Any]]:
    """Every pod template in it, however deep."""
    if isinstance(resource, dict):
        for key, value in resource.items():
            if key.lower().endswith("template") and "containers" in value.get("spec", {}):
                yield value
            yield from templates(value)


def pods(overlay: str) -> list[dict[str, Any]]:
    return [pod for one in resources(overlay) for pod in templates(one)]


def name_of(pod: dict[str, Any]) -> str:
    return pod["metadata"]["labels"]["app.kubernetes.io/name"]


def pod(overlay: str, kind: str, name: str) -> dict[str, Any]:
    return next(templates(find(overlay, kind, name)))["spec"]


def container(overlay: str, kind: str, name: str) -> dict[str, Any]:
    return pod(overlay, kind, name)["containers"][0]


def setting(overlay: str, name: str) -> str:
    return find(overlay, "ConfigMap", "ratchet")["data"][f"RATCHET_{name}"]
