"""The bases that courses start from: the one in the tree, and others that are trained once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from evals.arithmetic.rollouts import MODEL

FOLDER = Path("runs/experiments/models")
_TRAINED: Mapping[str, tuple[str, ...]] = {
    "qwen3": ("--architecture", "qwen3"),
    "llama": ("--architecture", "llama"),
    "ignorant": ("--ignorant",),
    "untaught": ("--ignorant", "--steps", "2", "--questions", "5"),
}


def folder_of(name: str) -> Path:
    """Where a base is. KeyError for an unknown one."""
    if name == "qwen2":
        return MODEL
    if name not in _TRAINED:
        raise KeyError(name)
    return FOLDER / name


def train_missing(names: Iterable[str]) -> None:
    """Train those of the named bases that are not there yet, two at a time."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    for name in sorted(set(names)):
        folder = folder_of(name)
        if not (folder / "config.json").is_file():
            command = [sys.executable, "-m", "evals.arithmetic", "--out", str(folder)]
            started[name] = subprocess.Popen([*command, *_TRAINED[name]], stdout=sys.stderr)
    failed = [name for name, process in started.items() if process.wait()]
    if failed:
        raise RuntimeError(f"could not train {', '.join(failed)}")
