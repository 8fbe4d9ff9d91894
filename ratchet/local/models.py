"""Models that are made on this machine, once, into the state folder."""

import subprocess
import sys
from pathlib import Path

from ratchet.errors import ConfigurationError

SMOLLM2 = "smollm2"
MODELS = (SMOLLM2,)


def folder_of(name: str, models: Path) -> Path:
    """A model's folder in `models`, made if it is not there. Raises ConfigurationError."""
    folder = models.resolve() / name
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        # In another process: this one is to stay without torch.
        command = [sys.executable, "-m", f"evals.{name}", "--out", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise ConfigurationError(f"model {name}: {said[0].removeprefix('ratchet: ')}")
    return folder
