"""Parts of the Kubernetes manifests that follow from the code: the engine's flags and environment,
and the alert rules as the Prometheus Operator wants them."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ratchet.local.programs import engine_environment, engine_flags
from ratchet.settings import StackSettings, read

_KUBERNETES = Path(__file__).parent / "kubernetes"
_RULES = Path(__file__).parent / "prometheus" / "rules.yml"
_OVERLAYS = (("base", True), ("gpu", False))
"""Folder, and whether its engine runs on a CPU."""
_FOLLOWS = {
    "--model": "model", "--max-lora-rank": "lora_rank", "--max-model-len": "max_model_len",
    "--gpu-memory-utilization": "gpu_memory_utilization", "VLLM_MAX_N_SEQUENCES": "max_rollouts",
}  # fmt: skip
"""What is a setting's value as it stands is read from the ConfigMap when the engine starts."""
_HERE_ONLY = {"--shutdown-timeout": ["$(RATCHET_ENGINE_TIMEOUT)"]}
_NOT_HERE = {"--disable-log-stats"}  # Prometheus scrapes the engine
_MADE = "# Made from the code by `make references`: do not edit.\n"


def manifests() -> Iterator[tuple[str, str]]:
    """File name within `deploy/kubernetes` and content of each."""
    written: Mapping[str, str | None] = {}
    for overlay, cpu in _OVERLAYS:
        settings = settings_of(overlay)
        environment = engine_environment(settings, cpu=cpu) | {"HF_HUB_OFFLINE": "1"}
        gone = dict.fromkeys(written.keys() - environment.keys())
        patch = _patch(settings, flags_of(settings, cpu=cpu), environment | gone)
        yield f"{overlay}/engine-flags.yaml", _MADE + yaml.safe_dump(patch, sort_keys=False)
        written = environment
    yield "monitoring/rules.yaml", _rules()


def settings_of(overlay: str) -> StackSettings:
    """The settings in an overlay's ConfigMap. Raises ConfigurationError."""
    environment: dict[str, str] = {}
    for folder in dict.fromkeys(("base", overlay)):
        made = yaml.safe_load((_KUBERNETES / folder / "kustomization.yaml").read_text())
        for literal in made["configMapGenerator"][0]["literals"]:
            name, _, value = literal.partition("=")
            environment[name] = value
    return read(StackSettings, environment=environment, file=_KUBERNETES / "none")


def flags_of(settings: StackSettings, *, cpu: bool) -> Mapping[str, Sequence[str]]:
    """vLLM's flags and their values."""
    flags: dict[str, list[str]] = {"--host": ["0.0.0.0"], "--port": ["8100"]}
    last: list[str] = []
    for word in engine_flags(settings, cpu=cpu):
        if word.startswith("--"):
            last = flags[word] = []
        else:
            last.append(word)
    flags |= _HERE_ONLY
    return {flag: values for flag, values in flags.items() if flag not in _NOT_HERE}


def _patch(
    settings: StackSettings,
    flags: Mapping[str, Sequence[str]],
    environment: Mapping[str, str | None],
) -> dict[str, Any]:
    """A patch of the engine; a variable that is None is taken away again."""

    def followed(name: str, value: str) -> str:
        source = _FOLLOWS.get(name)
        as_it_stands = source is not None and str(getattr(settings, source)) == value
        return f"$(RATCHET_{source.upper()})" if source and as_it_stands else value

    args = [
        word for flag, values in flags.items()
        for word in (flag, *(followed(flag, value) for value in values))
    ]  # fmt: skip
    entries = [
        {"name": name, "$patch": "delete"} if value is None
        else {"name": name, "value": followed(name, value)}
        for name, value in sorted(environment.items())
    ]  # fmt: skip
    container = {"name": "engine", "args": args, "env": entries}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "engine"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }


def _rules() -> str:
    rules = _RULES.read_text()
    head = (
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n"
        "metadata:\n  name: ratchet\nspec:\n"
    )
    return _MADE + head + textwrap.indent(rules[rules.index("groups:") :], "  ")
