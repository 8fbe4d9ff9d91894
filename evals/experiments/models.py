"""The bases that courses start from: the one in the tree, and others that are made once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from evals.arithmetic.rollouts import MODEL

FOLDER = Path("runs/experiments/models")
_MADE: Mapping[str, tuple[str, ...]] = {
    "qwen3": ("evals.arithmetic", "--architecture", "qwen3"),
    "llama": ("evals.arithmetic", "--architecture", "llama"),
    "ignorant": ("evals.arithmetic", "--ignorant"),
    "untaught": ("evals.arithmetic", "--ignorant", "--steps", "2", "--questions", "5"),
    "smollm2": ("evals.smollm2",),
}


def folder_of(name: str) -> Path:
    """Where a base is. KeyError for an unknown one."""
    if name == "qwen2":
        return MODEL
    if name not in _MADE:
        raise KeyError(name)
    return FOLDER / name


def make_missing(names: Iterable[str]) -> None:
    """Make those of the named bases that are not there yet, all at a time."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    for name in sorted(set(names)):
        folder = folder_of(name)
        if not (folder / "config.json").is_file():
            folder.parent.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", *_MADE[name], "--out", str(folder)]
            started[name] = subprocess.Popen(command, stdout=sys.stderr)
    failed = [name for name, process in started.items() if process.wait()]
    if failed:
        raise RuntimeError(f"could not make {', '.join(failed)}")
