"""AdamW with warm-up and schedule, whose state is saved beside an adapter and loaded again."""

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

STATE = "optimizer.safetensors"
PROGRESS = "trainer_state.json"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserOptions:
    """`schedule` is "constant" or "cosine", which reaches 0 after `schedule_updates`."""

    learning_rate: float
    weight_decay: float
    max_grad_norm: float
    warmup_updates: int
    schedule: str
    schedule_updates: int


class Optimiser:
    """Updates a fixed sequence of parameters, in their order."""

    def __init__(self, parameters: Sequence[Tensor], options: OptimiserOptions) -> None:
        self.parameters, self._options = list(parameters), options
        self.reset()

    def reset(self) -> None:
        """Reset moments and the count of updates."""
        self._adam = torch.optim.AdamW(
            self.parameters, self._options.learning_rate, weight_decay=self._options.weight_decay
        )
        self.updates = 0

    def clear(self) -> None:
        """Drop gradients."""
        self._adam.zero_grad()

    def gradients(self) -> list[Tensor]:
        """Gradients of the parameters that have one, in their order."""
        return [p.grad for p in self.parameters if p.grad is not None]

    def clip(self) -> float:
        """Clip gradients by their global norm; returns the norm before."""
        return float(torch.nn.utils.clip_grad_norm_(self.parameters, self._options.max_grad_norm))

    def step(self) -> float:
        """Make one step at the scheduled rate; returns the rate."""
        rate = self.rate()
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        return rate

    def rate(self) -> float:
        """Learning rate of the update in progress."""
        options = self._options
        warm = min(1.0, (self.updates + 1) / max(1, options.warmup_updates))
        if options.schedule == "constant":
            return options.learning_rate * warm
        done = min(1.0, self.updates / options.schedule_updates)
        return options.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done))

    def snapshot(self) -> tuple[dict[str, Any], int]:
        """State for `restore`."""
        return copy.deepcopy(self._adam.state_dict()), self.updates

    def restore(self, snapshot: tuple[dict[str, Any], int]) -> None:
        """Back to a snapshot."""
        state, self.updates = snapshot
        self._adam.load_state_dict(copy.deepcopy(state))

    def save(self, folder: Path) -> None:
        """Write moments and counters."""
        moments = {
            f"{index}.{name}": torch.as_tensor(state[name]).detach().cpu().contiguous()
            for index, state in self._adam.state_dict()["state"].items()
            for name in _MOMENTS
        }
        safetensors.torch.save_file(moments, str(folder / STATE))
        (folder / PROGRESS).write_text(json.dumps({"updates": self.updates}))

    def load(self, folder: Path | None) -> None:
        """Load what `save` wrote, else reset."""
        self.reset()
        if folder is None or not (folder / STATE).is_file():
            return
        state = self._adam.state_dict()
        for name, value in safetensors.torch.load_file(str(folder / STATE)).items():
            index, _, moment = name.partition(".")
            state["state"].setdefault(int(index), {})[moment] = value
        self._adam.load_state_dict(state)
        self.updates = int(json.loads((folder / PROGRESS).read_text())["updates"])
