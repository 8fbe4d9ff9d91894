"""The bench for whoever has a GPU, as it is but with tiny shapes on a CPU."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import loadtests.gpu
from loadtests.gpu import SHAPES, Model, entropies, step

REQUIRED = {
    "machine/device", "machine/torch", "machine/cuda", "machine/shape", "memory/weights",
    "memory/saved_per_token", "step/plain_tokens_per_second", "step/checkpointed_tokens_per_second",
    "entropy/share_of_a_step", "entropy/tokens_per_second", "entropy/mean",
}  # fmt: skip


def run(file: Path, cwd: Path, **environment: str) -> tuple[dict[str, dict], list[str]]:
    """Its objects by section/name, and the lines of its table."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(file), "--tiny"], cwd=cwd, capture_output=True, text=True, check=True,
        env={**clean, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    objects = [json.loads(line) for line in lines if line.startswith("{")]
    assert all(row["schema"] == 1 for row in objects)
    rows = {f"{row['section']}/{row['name']}": row for row in objects}
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == len(objects) + 2
    return rows, table


@pytest.mark.timeout(120)
def test_one_file_with_torch_alone_measures_a_step(tmp_path: Path) -> None:
    copied = shutil.copy(loadtests.gpu.__file__, tmp_path / "gpu.py")
    rows, _ = run(Path(copied), tmp_path)
    assert rows.keys() >= REQUIRED | {"trainer/skipped", "engine/skipped"}
    saved = rows["memory/saved_per_token"]
    assert saved["ratio"] == pytest.approx(saved["value"] / saved["planned"], abs=1e-3)
    assert 0.85 < saved["ratio"] < 1.15
    assert all(rows[name]["value"] > 0 for name in REQUIRED if name.endswith("per_second"))


@pytest.mark.timeout(120)
def test_with_the_project_there_its_own_trainer_is_measured_too(tmp_path: Path) -> None:
    root = Path(loadtests.gpu.__file__).parents[1]
    rows, table = run(root / "loadtests" / "gpu.py", tmp_path, PYTHONPATH=str(root))
    assert rows["trainer/completion_tokens_per_second"]["value"] > 0
    assert rows["trainer/kl_after_the_step"]["value"] > 0
    assert rows["engine/skipped"]["value"] == "no GPU"
    assert any("completion_tokens_per_second" in line for line in table)


def test_the_plan_at_1_5b_is_close_to_what_was_measured_with_peft() -> None:
    assert SHAPES["1.5b"].saved_bytes() == pytest.approx(loadtests.gpu.PLAN_15B, rel=0.1)


def test_a_step_makes_the_sampled_tokens_likelier() -> None:
    torch.manual_seed(0)
    model = Model(SHAPES["tiny"], torch.device("cpu"))
    ids = torch.randint(0, 512, (2, 16))
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)

    def likelihood() -> float:
        with torch.no_grad():
            logits = torch.nn.functional.linear(model.hidden(ids), model.table).float()
            logs = torch.log_softmax(logits, -1)
            return float(logs.gather(-1, ids[:, 1:].reshape(-1, 1)).mean())

    before = likelihood()
    for checkpointing in (False, True, False):
        model.checkpointing = checkpointing
        step(model, optimiser, ids)
    assert likelihood() > before + 0.01
    assert 0 < float(entropies(model, ids).mean()) < torch.log(torch.tensor(512.0))
