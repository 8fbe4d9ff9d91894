"""The compose files as Compose itself resolves them: valid, private where they should be, parts
started as `ratchet up` does."""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import engine
from deploy.references import ROOT
from ratchet.settings import KNOWN
from tests.programs import compose

pytestmark = pytest.mark.needs("compose")
_COPY = tempfile.TemporaryDirectory()
atexit.register(_COPY.cleanup)
FOLDER = Path(_COPY.name) / "deploy"
"""As on a machine where the example of a .env was copied."""
shutil.copytree(ROOT / "deploy", FOLDER, ignore=shutil.ignore_patterns("lock", "__pycache__"))
shutil.copy(FOLDER / ".env.example", FOLDER / ".env")
GPU = ("compose.yaml",)
CPU = ("compose.yaml", "compose.cpu.yaml")


UNKNOWN = {"vllm/vllm-openai:v0.32.0"}
"""Whose digest is not known here."""

SECRETS = {"HF_TOKEN": "fetch", "RATCHET_ADMIN_KEY": "server", "WANDB_API_KEY": "adapter"}
"""Which service gets it from the shell."""


def config(
    folder: Path, names: tuple[str, ...], *options: str, **shell: str
) -> subprocess.CompletedProcess[str]:
    """`docker compose config`, with nothing of ours in its environment but `shell`."""
    tool = compose()
    assert tool is not None
    files = [word for name in names for word in ("-f", str(folder / name))]
    kept = {
        name: value for name in ("PATH", "HOME", "DOCKER_CONFIG") if (value := os.environ.get(name))
    }
    return subprocess.run(
        [*tool, *files, "config", *options], capture_output=True, text=True, env={**kept, **shell}
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


def test_without_an_env_file_it_says_so(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "compose.yaml", tmp_path)
    told = config(tmp_path, GPU)
    assert told.returncode != 0
    assert ".env" in told.stderr


def test_the_engine_gets_what_is_in_env(names: tuple[str, ...], tmp_path: Path) -> None:
    """tests/unit/deploy/test_engine.py says what it makes of it."""
    for file in (FOLDER / "compose.yaml", FOLDER / "compose.cpu.yaml"):
        shutil.copy(file, tmp_path)
    more = {"RATCHET_LORA_RANK": "64", "RATCHET_KEEP_LOADED": "5", "RATCHET_MAX_ROLLOUTS": "128",
            "RATCHET_MAX_NUM_SEQS": "32", "RATCHET_TENSOR_PARALLEL_SIZE": "2",
            "RATCHET_GPU_MEMORY_UTILIZATION": "0.8", "RATCHET_ENGINE_TIMEOUT": "900"}  # fmt: skip
    lines = [f"{name}={value}" for name, value in {**environment_file(), **more}.items()]
    (tmp_path / ".env").write_text("\n".join(lines))
    service = resolved(names, tmp_path)["services"]["engine"]
    assert more.items() <= service["environment"].items()
    assert service["entrypoint"] == ["python3", "/engine.py"]
    assert service["command"] in (None, [])
    cpu = names == CPU
    given = engine.command(service["environment"], cpu=cpu)
    assert given[given.index("--max-loras") + 1] == "7"
    length = "128" if cpu else environment_file()["RATCHET_MAX_MODEL_LEN"]
    assert given[given.index("--max-model-len") + 1] == length


def test_a_folder_of_the_operator_s_is_seen_by_all(tmp_path: Path) -> None:
    """So a local model or a chat template can be named in .env."""
    shutil.copy(FOLDER / "compose.yaml", tmp_path)
    text = (FOLDER / ".env").read_text()
    assert "\nFILES=\n" in text
    for given, source in (("", "files"), ("/srv/files", "/srv/files")):
        folder = tmp_path / (source.strip("/").replace("/", "-"))
        folder.mkdir()
        shutil.copy(FOLDER / "compose.yaml", folder)
        (folder / ".env").write_text(text.replace("\nFILES=\n", f"\nFILES={given}\n"))
        services = resolved(GPU, folder)["services"]
        for name in ("fetch", "engine", "server", "adapter"):
            mounts = {one["target"]: one for one in services[name]["volumes"]}
            assert (mounts["/files"]["source"], mounts["/files"]["read_only"]) == (source, True)


def test_the_model_is_fetched_once_before_the_engine_starts(services: dict[str, Any]) -> None:
    fetch, engine_service = services["fetch"], services["engine"]
    assert engine_service["depends_on"]["fetch"]["condition"] == "service_completed_successfully"
    assert services["adapter"]["depends_on"]["engine"]["condition"] == "service_healthy"
    assert fetch["restart"].startswith("on-failure:"), "it ends with 0 when all is there"
    assert fetch["entrypoint"] == ["python3", "/fetch.py"]
    cached = {one["target"]: one["source"] for one in fetch["volumes"]}["/models"]
    for name in ("engine", "adapter"):
        mounts = {one["target"]: one["source"] for one in services[name]["volumes"]}
        assert mounts["/models"] == cached
        assert services[name]["environment"]["HF_HOME"] == "/models"
        assert (
            services[name]["environment"]["RATCHET_MODEL"] == fetch["environment"]["RATCHET_MODEL"]
        )


def test_what_the_engine_compiles_is_kept(services: dict[str, Any]) -> None:
    one = services["engine"]
    volumes = {mount["target"]: mount["type"] for mount in one["volumes"]}
    assert volumes["/cache"] == "volume"
    for name in ("VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "FLASHINFER_WORKSPACE_BASE"):
        assert one["environment"][name].startswith("/cache")


def test_a_stop_leaves_time_for_the_longest_request(services: dict[str, Any]) -> None:
    env = environment_file()
    needed = float(env["RATCHET_ENGINE_TIMEOUT"]) + float(env["RATCHET_DRAIN_SECONDS"]) + 15
    for name in ("server", "engine"):
        minutes, seconds = services[name]["stop_grace_period"].removesuffix("s").split("m")
        assert 60 * int(minutes) + int(seconds) >= needed, name
    assert "engine" in services["server"]["depends_on"], "Compose stops the server first"


def test_a_learner_that_gave_up_is_not_started_for_ever(services: dict[str, Any]) -> None:
    assert services["adapter"]["restart"] == "unless-stopped", "it outlives a restart of Docker"
    assert services["adapter"]["environment"]["RATCHET_HOLD_AFTER_GIVING_UP"] == "true"


def test_engine_and_redis_are_on_networks_of_their_own(names: tuple[str, ...]) -> None:
    """Nothing that people or clients reach, but the server, is on them; nor do they reach out."""
    whole = resolved(names)
    users = {
        network: {name for name, one in whole["services"].items() if network in one["networks"]}
        for network in whole["networks"]
    }
    assert users["engine"] == {"engine", "server", "prometheus"}
    assert users["store"] == {"redis", "server", "adapter"}
    for name in ("engine", "redis"):
        [only] = whole["services"][name]["networks"]
        assert whole["networks"][only]["internal"] is True
    published = {name for name, one in whole["services"].items() if "ports" in one}
    assert published <= users["edge"], "a port of an internal network cannot be published"
    assert not whole["networks"]["edge"].get("internal")


def test_engine_redis_and_learner_are_not_published(services: dict[str, Any]) -> None:
    assert {name for name, one in services.items() if "ports" in one} == {
        "server", "prometheus", "grafana",
    }  # fmt: skip
    for service in services.values():
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", "loopback unless the operator opens it"


def test_every_service_is_watched_bounded_and_hardened(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert name == "fetch" or service["restart"] == "unless-stopped", name
        assert service["logging"]["options"]["max-size"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name not in ("server", "adapter"):  # their images bring a check
            assert service["healthcheck"]["test"][0] == "CMD", name
    for name in ("server", "adapter"):
        assert services[name]["read_only"] is True and services[name]["cap_drop"] == ["ALL"], name


def test_a_secret_comes_from_the_shell_and_reaches_whom_it_is_for(names: tuple[str, ...]) -> None:
    given = {name: f"secret-{name}" for name in SECRETS}
    told = config(FOLDER, names, "--format", "json", **given)
    services = json.loads(told.stdout)["services"]
    for name, service in SECRETS.items():
        seen = [one for one, what in services.items() if given[name] in json.dumps(what)]
        assert seen == [service], name


def test_no_secret_is_kept_with_the_code() -> None:
    """So none can be committed by setting it: what is named here is not secret."""
    assert not [name for name in environment_file() if re.search("TOKEN|KEY|SECRET|PASS", name)]


def test_images_are_exact_and_by_digest_where_it_is_known(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if "build" not in service:
            image, _, digest = service["image"].partition("@")
            assert re.search(r":v?\d+\.\d+\.\d+(-[a-z]+)?$", image), name
            assert re.fullmatch("sha256:[0-9a-f]{64}", digest) or image in UNKNOWN, name
    status = (ROOT / "docs" / "status.md").read_text()
    assert all(image in status for image in UNKNOWN)


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
