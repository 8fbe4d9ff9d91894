"""Settings of the local stack, and how the settings of every process are read.

Order: flag, environment (`RATCHET_…`), `ratchet.yaml`, default. Unknown keys are fatal.
"""

import argparse
import inspect
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo

from adapter.settings import AdapterSettings, ChannelSettings
from ratchet.errors import ConfigurationError
from server.settings import ServerSettings

FILE = Path("ratchet.yaml")
PREFIX = "RATCHET_"

S = TypeVar("S", bound=ChannelSettings)


class StackFiles(ChannelSettings):
    """Files of the local stack."""

    state_dir: Path = Path(".ratchet")
    """Folder for logs and for the data of a Redis started by us."""
    models_dir: Path = Path(".ratchet/models")
    """Folder for models made on this machine (`ratchet model`)."""


class EngineProcess(ChannelSettings):
    """The engine that the local stack starts."""

    engine_port: int = Field(default=8100, ge=0, le=65535)
    """Loopback port of the vLLM that is started; 0 picks a free one."""
    max_model_len: int = Field(default=128, gt=0)
    """vLLM's --max-model-len: longest prompt plus completion, in tokens."""
    chat_template: Path | None = None
    """Jinja file that turns messages into a prompt, in place of the model's own."""
    tool_call_parser: str = ""
    """How vLLM reads tool calls out of what the model writes (`hermes`, `llama3_json`, `mistral`,
    …: its --tool-call-parser, with --enable-auto-tool-choice); empty: requests with `tools` are
    refused."""
    reasoning_parser: str = ""
    """How vLLM tells reasoning from the reply (`deepseek_r1`, `qwen3`, …: its --reasoning-parser);
    empty: all of it is the reply."""
    max_num_seqs: int = Field(default=0, ge=0)
    """Sequences that vLLM computes at once; 0 leaves its own choice (256 on most cards)."""
    tensor_parallel_size: int = Field(default=1, gt=0)
    """GPUs over which vLLM splits the model."""
    gpu_memory_utilization: float = Field(default=0.5, gt=0, lt=1)
    """Share of the GPU's memory for vLLM; the learner needs the rest. Unless it is set, `ratchet
    up` takes what the memory plan chooses (docs/memory.md)."""
    engine_threads: int = Field(default=0, ge=0)
    """Without a GPU: vLLM's threads; 0 means half the cores. More than what the learner and the
    server leave idle makes it many times slower, because its threads wait for each other."""
    kv_cache_gib: int = Field(default=1, gt=0)
    """Without a GPU: GiB of memory for vLLM's KV cache."""

    @field_validator("chat_template", mode="before")
    @classmethod
    def _no_template(cls, value: Any) -> Any:
        return None if value in ("", "none", "None") else value


class StackSettings(StackFiles, EngineProcess, ServerSettings, AdapterSettings):
    """Everything that `ratchet up` needs."""


KNOWN = frozenset(StackSettings.model_fields)


def groups_of(kind: type[BaseModel]) -> list[tuple[str, dict[str, FieldInfo]]]:
    """Fields of a settings class by the class that introduces them, its own first; the title of a
    group is the first line of that class's docstring."""
    owners = {name: owner for owner in kind.__mro__ for name in inspect.get_annotations(owner)}
    groups: list[tuple[str, dict[str, FieldInfo]]] = []
    for owner in kind.__mro__:
        if own := {name: f for name, f in kind.model_fields.items() if owners[name] is owner}:
            groups.append(((owner.__doc__ or "").partition("\n")[0].rstrip("."), own))
    return groups


def add_flags(parser: argparse.ArgumentParser, kind: type[BaseModel]) -> None:
    """One flag for each field of a settings class, documented by its docstring, in groups."""
    for title, settings in groups_of(kind):
        group = parser.add_argument_group(title)
        for name, field in settings.items():
            text = " ".join((field.description or "").split()).replace("%", "%%")
            group.add_argument(
                "--" + name.replace("_", "-"),
                dest=f"set_{name}",
                metavar=name.rsplit("_", 1)[-1].upper(),
                help=f"{text} [{field.get_default()}]",
            )


def flags_of(arguments: argparse.Namespace) -> dict[str, str]:
    """The settings given as flags."""
    return {
        name[4:]: value
        for name, value in vars(arguments).items()
        if name.startswith("set_") and value is not None
    }


def read(
    kind: type[S],
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
    file: Path = FILE,
) -> S:
    """Settings of one process from all sources. Raises ConfigurationError naming the key."""
    in_file = _read_file(file)
    from_environment = {
        name[len(PREFIX) :].lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    for source, keys in ((str(file), in_file), ("the environment", from_environment)):
        for key in keys:
            if key not in KNOWN:
                shown = PREFIX + key.upper() if keys is from_environment else key
                raise ConfigurationError(f"unknown setting {shown} in {source}")
    merged = {**in_file, **from_environment, **(flags or {})}
    mine = {key: value for key, value in merged.items() if key in kind.model_fields}
    try:
        return kind.model_validate(mine)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"setting {key}: {first['msg']}") from None


def require_writable(folder: Path, setting: str) -> None:
    """Create `folder` if need be. Raises ConfigurationError naming `setting` if it is read-only."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigurationError(
            f"{setting}: {folder} cannot be written ({error.strerror}); mount it for this user, or "
            f"set {setting} to another folder"
        ) from None


def environment_for(kind: type[ChannelSettings], settings: ChannelSettings) -> dict[str, str]:
    """Environment variables from which a child process reads `settings` as a `kind`."""
    values: dict[str, Any] = settings.model_dump(mode="json")
    for name, value in settings:
        if isinstance(value, SecretStr):  # dumped as asterisks
            values[name] = value.get_secret_value()
    return {
        PREFIX + name.upper(): str(values[name])
        for name in kind.model_fields
        if values[name] is not None
    }


def _read_file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        parsed = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file} is not valid YAML: {error}") from None
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise ConfigurationError(f"{file} must hold `key: value` lines")
    return {str(key): value for key, value in cast("Mapping[Any, Any]", parsed).items()}
