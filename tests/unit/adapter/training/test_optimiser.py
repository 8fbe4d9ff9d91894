"""What the optimiser saves, and where it finds it again."""

import json
from pathlib import Path

import torch

from adapter.training.optimiser import Optimiser, OptimiserOptions


def optimiser() -> Optimiser:
    options = OptimiserOptions(
        learning_rate=0.5, weight_decay=0.0, max_grad_norm=1.0, warmup_updates=0,
        schedule="constant", schedule_updates=1,
    )  # fmt: skip
    return Optimiser([torch.zeros(1, requires_grad=True)], options)


def stepped() -> Optimiser:
    """After one update with the gradient 2: Adam's moments are 0.1 * 2 and 0.001 * 4."""
    made = optimiser()
    made.parameters[0].grad = torch.tensor([2.0])
    made.step()
    made.updates += 1
    return made


def moments(one: Optimiser) -> list[float]:
    state = one.snapshot()[0]["state"]
    return [float(state[0][name]) for name in ("exp_avg", "exp_avg_sq")] if state else []


def test_moments_and_count_come_back(tmp_path: Path) -> None:
    stepped().save(tmp_path)
    restarted = optimiser()
    restarted.load(tmp_path)
    torch.testing.assert_close(moments(restarted), [0.2, 0.004])
    assert restarted.updates == 1


def test_what_an_older_version_wrote_is_read(tmp_path: Path) -> None:
    """It had the probe's tokens too."""
    stepped().save(tmp_path)
    progress = tmp_path / "trainer_state.json"
    progress.write_text(json.dumps({**json.loads(progress.read_text()), "pinned": [[1, 2]]}))
    restarted = optimiser()
    restarted.load(tmp_path)
    assert restarted.updates == 1


def test_without_a_state_it_starts_anew(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        one = stepped()
        one.load(folder)
        assert (moments(one), one.updates) == ([], 0)
