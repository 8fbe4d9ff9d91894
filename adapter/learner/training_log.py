"""Logs the numbers of every update to TensorBoard and to Weights & Biases.

Numbers only: no prompt, client or label (invariant I10).
"""

import importlib
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("ratchet.learner")


class TrainingLogUnavailable(Exception):
    """A log cannot be opened; the message names the setting."""


class TrainingLog:
    """Writes to `folder`, to a W&B project, to both or, by default, to neither. W&B's `mode` is
    "online", or "offline" to sync by hand later.

    Accelerate's trackers do the same but need its process state, which a standby learner has not.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        project: str = "",
        mode: str = "online",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._board: Any = None if folder is None else _board(folder)
        self._run: Any = _run(project, mode, folder, dict(config or {})) if project else None

    def write(self, version: int, numbers: Mapping[str, float]) -> None:
        """Add the finite numbers of one version, the x axis."""
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        if self._board is not None:
            try:
                for name, value in finite.items():
                    self._board.add_scalar(name, value, version)
                self._board.flush()
            except OSError as error:  # a full disk must not end the learning
                log.error("no more training logs: log_dir: %s", error)
                self._board = None
        if self._run is not None:
            self._run.log(finite, step=version)

    def close(self) -> None:
        """Finish files and uploads."""
        if self._board is not None:
            self._board.close()
        if self._run is not None:
            self._run.finish()


def _board(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter  # loads torch, so only if it is wanted

    try:
        return SummaryWriter(str(folder))
    except OSError as error:
        raise TrainingLogUnavailable(f"log_dir: {folder}: {error.strerror}") from None


def _run(project: str, mode: str, folder: Path | None, config: dict[str, Any]) -> Any:
    try:
        wandb: Any = importlib.import_module("wandb")
    except ImportError:
        raise TrainingLogUnavailable(
            "wandb_project is set, but wandb is not installed: pip install 'ratchet[wandb]'"
        ) from None
    try:
        quiet = wandb.Settings(console="off")  # numbers only, no console output
        return wandb.init(project=project, mode=mode, dir=folder, config=config, settings=quiet)
    except wandb.Error as error:
        raise TrainingLogUnavailable(f"wandb_project: {error}") from None
