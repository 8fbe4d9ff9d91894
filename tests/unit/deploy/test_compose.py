"""The compose files as Compose itself resolves them: valid, private where they should be, parts
started as `ratchet up` does."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.references import ROOT
from ratchet.local.programs import engine_environment, engine_flags
from ratchet.settings import KNOWN, StackSettings
from tests.programs import compose

pytestmark = pytest.mark.needs("compose")
FOLDER = ROOT / "deploy"
GPU = ("compose.yaml",)
CPU = ("compose.yaml", "compose.cpu.yaml")


def config(folder: Path, names: tuple[str, ...], *options: str) -> subprocess.CompletedProcess[str]:
    """`docker compose config`, with nothing of ours in its environment."""
    tool = compose()
    assert tool is not None
    files = [word for name in names for word in ("-f", str(folder / name))]
    kept = {
        name: value for name in ("PATH", "HOME", "DOCKER_CONFIG") if (value := os.environ.get(name))
    }
    return subprocess.run(
        [*tool, *files, "config", *options], capture_output=True, text=True, env=kept
    )


@cache
def resolved(names: tuple[str, ...], folder: Path = FOLDER) -> dict[str, Any]:
    """What `docker compose config` makes of these files and their .env alone."""
    told = config(folder, names, "--format", "json")
    assert (told.returncode, told.stderr) == (0, "")
    return json.loads(told.stdout)


def environment_file() -> dict[str, str]:
    lines = (FOLDER / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(params=[GPU, CPU], ids=["gpu", "cpu"])
def names(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture
def services(names: tuple[str, ...]) -> dict[str, Any]:
    return resolved(names)["services"]


def test_it_follows_the_compose_specification(names: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "compose.json"
    file.write_text(json.dumps(resolved(names)))
    schema = ["--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, file], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "compose.yaml", tmp_path)
    text = (FOLDER / ".env").read_text()
    (tmp_path / ".env").write_text(text.replace("RATCHET_MODEL=", "RATCHET_MODEL=\n#"))
    told = config(tmp_path, GPU)
    assert told.returncode != 0
    assert "set RATCHET_MODEL in deploy/.env" in told.stderr


def test_the_engine_is_started_as_by_us(names: tuple[str, ...], services: dict[str, Any]) -> None:
    env = environment_file()
    model, length = (
        ("evals/arithmetic/model", 128) if names == CPU
        else (env["RATCHET_MODEL"], int(env["RATCHET_MAX_MODEL_LEN"]))
    )  # fmt: skip
    settings = StackSettings(model=model, max_model_len=length)
    joined: list[str] = []
    for flag in engine_flags(settings, cpu=names == CPU):
        if flag.startswith("--"):
            joined.append(flag)
        else:
            joined[-1] += f"={flag}"
    flags = services["engine"]["command"]
    assert [f for f in flags if not f.startswith(("--host", "--port"))] == joined
    expected = engine_environment(settings, cpu=names == CPU)
    expected.pop("OMP_NUM_THREADS", None)  # half of the cores that vLLM has to itself, when local
    if names != CPU:
        expected.pop("HF_HUB_OFFLINE", None)
    assert expected.items() <= services["engine"]["environment"].items()
    assert env["RATCHET_GPU_MEMORY_UTILIZATION"] == str(settings.gpu_memory_utilization)


def test_engine_redis_and_learner_are_not_published(services: dict[str, Any]) -> None:
    assert {name for name, one in services.items() if "ports" in one} == {
        "server", "prometheus", "grafana",
    }  # fmt: skip
    for service in services.values():
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", "loopback unless the operator opens it"


def test_every_service_is_watched_bounded_and_hardened(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"]["max-size"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        image = service["image"]
        assert "build" in service or (":" in image and not image.endswith("latest")), name
        if name not in ("server", "adapter"):  # their images bring a check
            assert service["healthcheck"]["test"][0] == "CMD", name
    for name in ("server", "adapter"):
        assert services[name]["read_only"] is True and services[name]["cap_drop"] == ["ALL"], name


def test_only_the_engine_sees_the_token(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "compose.yaml", tmp_path)
    text = (FOLDER / ".env").read_text()
    (tmp_path / ".env").write_text(text.replace("HF_TOKEN=", "HF_TOKEN=hf_secret"))
    services = resolved(GPU, tmp_path)["services"]
    assert [name for name, one in services.items() if "hf_secret" in json.dumps(one)] == ["engine"]


def test_without_a_gpu_none_is_reserved() -> None:
    assert "nvidia" in json.dumps(resolved(GPU))
    assert "nvidia" not in json.dumps(resolved(CPU))


def test_only_settings_that_there_are(services: dict[str, Any]) -> None:
    given = {name for one in services.values() for name in one.get("environment", {})}
    ours = {name for name in given if name.startswith("RATCHET_")}
    assert ours and {name[len("RATCHET_") :].lower() for name in ours} <= KNOWN


def test_dashboards_are_provisioned_where_they_are_mounted() -> None:
    provider = yaml.safe_load(
        (FOLDER / "grafana/provisioning/dashboards/ratchet.yaml").read_text()
    )["providers"][0]
    mounts = {one["target"]: one for one in resolved(GPU)["services"]["grafana"]["volumes"]}
    mount = mounts[provider["options"]["path"]]
    assert mount["source"] == str(FOLDER / "grafana/dashboards") and mount["read_only"]
    source = yaml.safe_load(
        (FOLDER / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )["datasources"][0]
    assert source["isDefault"] and source["url"] == "http://prometheus:9090"
