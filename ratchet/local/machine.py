"""GPUs of this machine, and the config of a model that is on it."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ratchet.errors import ConfigurationError


def gpus() -> list[int]:
    """Bytes of memory of each NVIDIA GPU, as its driver reports them; empty without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        return [int(line) << 20 for line in answer.stdout.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def model_config(model: str) -> Mapping[str, Any]:
    """config.json of a folder, or of a Hugging Face id that is in the local cache; nothing is
    fetched. Raises ConfigurationError that says what to do."""
    file = Path(model) / "config.json"
    if not Path(model).is_dir():
        file = _cached(model)
    try:
        parsed: Mapping[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"model: {file} cannot be read: {error}") from None
    return parsed


def _cached(name: str) -> Path:
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(name, "config.json")
    except (ImportError, ValueError):  # not installed, or no name that the Hub could have
        found = None
    if isinstance(found, str):
        return Path(found)
    raise ConfigurationError(
        f"model: {name!r} is no folder and not in the Hugging Face cache: give a folder, or fetch "
        f"its config first with `hf download {name} config.json`"
    )
