"""The compose files: valid, private where they should be, parts started as `ratchet up` does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.references import ROOT
from ratchet.programs import engine_flags
from ratchet.settings import KNOWN, StackSettings

FOLDER = ROOT / "deploy"
RESET = object()


class _Override(list[Any]):
    """A list that takes the place of the other file's."""


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor("!reset", lambda _loader, _node: RESET)
_Loader.add_constructor(
    "!override", lambda loader, node: _Override(loader.construct_sequence(node, deep=True))
)


def merged(base: Any, over: Any) -> Any:
    """As the Compose specification merges files: mappings by key, lists one after the other."""
    if isinstance(base, dict) and isinstance(over, dict):
        keys = [*base, *(key for key in over if key not in base)]
        found = {
            key: merged(base.get(key), over[key]) if key in over else base[key] for key in keys
        }
        return {key: value for key, value in found.items() if value is not RESET}
    if isinstance(over, _Override) or over is RESET or base is None:
        return list(over) if isinstance(over, _Override) else over
    if isinstance(base, list) and isinstance(over, list):
        return base + over
    return over


def gpu() -> dict[str, Any]:
    return yaml.load((FOLDER / "compose.yaml").read_text(), _Loader)


def cpu() -> dict[str, Any]:
    return merged(gpu(), yaml.load((FOLDER / "compose.cpu.yaml").read_text(), _Loader))


def environment_file() -> dict[str, str]:
    lines = (FOLDER / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def filled(text: str) -> str:
    """Variables as Compose fills them in from .env."""
    for name, value in environment_file().items():
        for form in (":-", ":?"):
            while (start := text.find("${" + name + form)) >= 0:
                text = text[:start] + value + text[text.index("}", start) + 1 :]
    return text


@pytest.mark.parametrize("kind", [gpu, cpu])
def test_it_follows_the_compose_specification(kind: Any, tmp_path: Path) -> None:
    file = tmp_path / "compose.json"
    file.write_text(json.dumps(kind()))
    schema = ["--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, file], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(("kind", "on_cpu"), [(gpu, False), (cpu, True)])
def test_the_engine_is_started_as_by_us(kind: Any, on_cpu: bool) -> None:
    env = environment_file()
    model, length = (
        ("evals/arithmetic/model", 128) if on_cpu
        else (env["RATCHET_MODEL"], int(env["RATCHET_MAX_MODEL_LEN"]))
    )  # fmt: skip
    settings = StackSettings(model=model, max_model_len=length)
    flags = [filled(flag) for flag in kind()["services"]["engine"]["command"]]
    ours = engine_flags(settings, cpu=on_cpu)
    joined: list[str] = []
    for flag in ours:
        if flag.startswith("--"):
            joined.append(flag)
        else:
            joined[-1] += f"={flag}"
    assert [f for f in flags if not f.startswith(("--host", "--port"))] == joined
    assert env["RATCHET_GPU_MEMORY_UTILIZATION"] == str(settings.gpu_memory_utilization)


@pytest.mark.parametrize("kind", [gpu, cpu])
def test_engine_redis_and_learner_are_not_published(kind: Any) -> None:
    services = kind()["services"]
    assert {name for name, one in services.items() if "ports" in one} == {
        "server", "prometheus", "grafana",
    }  # fmt: skip
    for service in services.values():
        for port in service.get("ports", ()):
            assert filled(port).startswith("127.0.0.1:"), "loopback unless the operator opens it"


@pytest.mark.parametrize("kind", [gpu, cpu])
def test_every_service_is_watched_bounded_and_hardened(kind: Any) -> None:
    for name, service in kind()["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"]["max-size"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        image = service["image"]
        assert "build" in service or (":" in image and not image.endswith("latest")), name
        if name not in ("server", "adapter"):  # their images bring a check
            assert service["healthcheck"]["test"][0] == "CMD", name
    for name in ("server", "adapter"):
        ours = kind()["services"][name]
        assert ours["read_only"] is True and ours["cap_drop"] == ["ALL"], name


def test_only_the_engine_sees_the_token() -> None:
    for name, service in gpu()["services"].items():
        if "env_file" in service:
            assert service["environment"]["HF_TOKEN"] == "", name
    assert gpu()["services"]["engine"]["environment"]["HF_TOKEN"] == "${HF_TOKEN:-}"


def test_without_a_gpu_none_is_reserved() -> None:
    assert "nvidia" in json.dumps(gpu())
    assert "nvidia" not in json.dumps(cpu())


@pytest.mark.parametrize("kind", [gpu, cpu])
def test_only_settings_that_there_are(kind: Any) -> None:
    given = set(environment_file())
    for service in kind()["services"].values():
        given |= set(service.get("environment", {}))
    ours = {name for name in given if name.startswith("RATCHET_")}
    assert ours and {name[len("RATCHET_") :].lower() for name in ours} <= KNOWN


def test_dashboards_are_provisioned_where_they_are_mounted() -> None:
    provider = yaml.safe_load(
        (FOLDER / "grafana/provisioning/dashboards/ratchet.yaml").read_text()
    )["providers"][0]
    mounts = gpu()["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts
    source = yaml.safe_load(
        (FOLDER / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )["datasources"][0]
    assert source["isDefault"] and source["url"] == "http://prometheus:9090"
