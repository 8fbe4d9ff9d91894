"""The manifests as Kustomize builds them: valid, private where they should be, and of a piece."""

import functools
import json
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.references import ROOT
from ratchet.local.programs import engine_environment, engine_flags
from ratchet.settings import KNOWN, StackSettings
from tests.programs import program

pytestmark = pytest.mark.needs("kustomize")
FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.34"


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


def pods(overlay: str) -> list[dict[str, Any]]:
    return [
        one["spec"]["template"] for one in resources(overlay) if "template" in one.get("spec", {})
    ]


def container(overlay: str, kind: str, name: str) -> dict[str, Any]:
    return find(overlay, kind, name)["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("overlay", ["base", "gpu", "monitoring"])
def test_manifests_follow_kubernetes_schemas(overlay: str) -> None:
    seen = 0
    for resource in resources(overlay):
        if resource["apiVersion"].startswith("monitoring.coreos.com/"):
            continue  # a definition of the Prometheus Operator's, not Kubernetes' own
        kubernetes_validate.validate(resource, VERSION, strict=True)
        seen += 1
    assert seen


@pytest.mark.parametrize(("overlay", "on_cpu"), [("base", True), ("gpu", False)])
def test_the_engine_is_started_as_by_us(overlay: str, on_cpu: bool) -> None:
    config = find(overlay, "ConfigMap", "ratchet")["data"]
    settings = StackSettings(
        model=config["RATCHET_MODEL"], max_model_len=int(config["RATCHET_MAX_MODEL_LEN"]),
        gpu_memory_utilization=0.9,
    )  # fmt: skip
    joined: list[str] = []
    for flag in engine_flags(settings, cpu=on_cpu):
        if flag.startswith("--"):
            joined.append(flag)
        else:
            joined[-1] += f"={flag}"
    engine = container(overlay, "StatefulSet", "engine")
    expected = engine_environment(settings, cpu=on_cpu)
    expected.pop("OMP_NUM_THREADS", None)
    given = {entry["name"]: entry.get("value") for entry in engine["env"]}
    assert expected.items() <= given.items()
    assert on_cpu or "TORCH_COMPILE_DISABLE" not in given, "only where there is no compiler"
    args = engine["args"]
    for name in ("RATCHET_MODEL", "RATCHET_MAX_MODEL_LEN"):
        args = [flag.replace(f"$({name})", config[name]) for flag in args]
    assert [flag for flag in args if not flag.startswith(("--host", "--port"))] == joined


@pytest.mark.parametrize("overlay", ["base", "gpu"])
def test_servers_know_every_replica_of_the_engine(overlay: str) -> None:
    count = find(overlay, "StatefulSet", "engine")["spec"]["replicas"]
    urls = find(overlay, "ConfigMap", "ratchet")["data"]["RATCHET_ENGINE_URL"].split(",")
    assert urls == [f"http://engine-{at}.engine:8100" for at in range(count)]


@pytest.mark.parametrize("overlay", ["base", "gpu"])
def test_engine_and_redis_are_reached_only_by_who_needs_them(overlay: str) -> None:
    for name, allowed in {"engine": {"server"}, "redis": {"server", "adapter"}}.items():
        policy = find(overlay, "NetworkPolicy", name)["spec"]
        assert policy["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": name}
        [rule] = policy["ingress"]
        peers = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
        assert {labels["app.kubernetes.io/name"] for labels in peers} == allowed
    services = [one for one in resources(overlay) if one["kind"] == "Service"]
    assert {one["metadata"]["name"]: one["spec"].get("type", "ClusterIP") for one in services} == {
        "engine": "ClusterIP", "redis": "ClusterIP", "server": "ClusterIP",
    }  # fmt: skip


@pytest.mark.parametrize("overlay", ["base", "gpu"])
def test_pods_are_probed_limited_and_unprivileged(overlay: str) -> None:
    for pod in pods(overlay):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in spec["containers"]:
            assert "livenessProbe" in one
            assert one["resources"]["limits"]["memory"]
            assert one["securityContext"]["allowPrivilegeEscalation"] is False
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            names = {mount["name"] for mount in one["volumeMounts"]}
            assert names <= {volume["name"] for volume in spec.get("volumes", [])} | {"data"}


def test_a_gpu_each_and_the_learner_by_accelerate() -> None:
    for kind, name in (("StatefulSet", "engine"), ("Deployment", "adapter")):
        assert container("gpu", kind, name)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container("gpu", "Deployment", "adapter")["command"][:2] == ["accelerate", "launch"]
    assert container("gpu", "StatefulSet", "engine")["image"].startswith("vllm/vllm-openai:")
    assert "nvidia" not in built("base")


def test_the_server_scales_and_survives_a_drain() -> None:
    target = find("gpu", "HorizontalPodAutoscaler", "server")["spec"]
    assert target["scaleTargetRef"]["name"] == "server" and target["minReplicas"] == 2
    assert "replicas" not in find("gpu", "Deployment", "server")["spec"]
    assert find("gpu", "PodDisruptionBudget", "server")["spec"]["minAvailable"] == 1
    assert find("gpu", "PersistentVolumeClaim", "adapters")["spec"]["accessModes"] == [
        "ReadWriteMany"
    ]


@pytest.mark.parametrize("overlay", ["base", "gpu"])
def test_only_settings_that_there_are(overlay: str) -> None:
    config = find(overlay, "ConfigMap", "ratchet")["data"]
    assert {name.removeprefix("RATCHET_").lower() for name in config} <= KNOWN


def test_dashboards_are_in_config_maps() -> None:
    boards = [one for one in resources("monitoring") if one["kind"] == "ConfigMap"]
    assert len(boards) == 3
    for board in boards:
        assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
        [text] = board["data"].values()
        assert json.loads(text)["tags"] == ["ratchet"]
