"""Read back what was written, with TensorBoard's own reader."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adapter.learner.training_log import TrainingLog, TrainingLogUnavailable


def written(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_numbers_are_points_over_versions(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "new" / "folder")
    log.write(3, {"loss": 0.5, "clip_ratio/low_mean": 0.25, "kl": math.nan})
    log.write(3, {"promoted": 1.0})
    log.write(5, {"loss": -0.5})
    log.close()
    assert written(tmp_path / "new" / "folder") == {
        "loss": [(3, 0.5), (5, -0.5)],
        "clip_ratio/low_mean": [(3, 0.25)],
        "promoted": [(3, 1.0)],
    }


def test_a_learner_that_comes_back_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    for version in (1, 2):
        log = TrainingLog(tmp_path)
        log.write(version, {"loss": 0.5})
        log.close()
    assert written(tmp_path) == {"loss": [(1, 0.5), (2, 0.5)]}


def test_without_folder_and_project_nothing_is_written() -> None:
    log = TrainingLog()
    log.write(1, {"loss": 0.5})
    log.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingLogUnavailable, match=r"log_dir: .*file"):
        TrainingLog(tmp_path / "file")


FULL_DISK = """
import resource, sys
from pathlib import Path
from adapter.learner.training_log import TrainingLog
log = TrainingLog(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for version in range(50):
    log.write(version, {"loss": 0.5})
log.close()
print("still here")
"""


def test_a_full_disk_ends_the_log_and_not_the_learner(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "still here\n"), done.stderr
    assert done.stderr.count("no more training logs") == 1


def test_weights_and_biases_wants_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrainingLogUnavailable, match=r"ratchet\[wandb\]"):
        TrainingLog(project="project")


def test_weights_and_biases_offline(tmp_path: Path) -> None:
    """Where the package is installed; ours does not bring it."""
    pytest.importorskip("wandb")
    log = TrainingLog(tmp_path, project="project", mode="offline", config={"reward": "majority"})
    log.write(3, {"loss": 0.5})
    log.write(3, {"promoted": 1.0})
    log.close()
    [file] = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    kept = file.read_bytes()
    assert all(word in kept for word in (b"loss", b"promoted", b"majority"))
