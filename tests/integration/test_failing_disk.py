"""A learner is torn away while it deletes what nobody needs, or cannot open a file for writing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapter.learner.model_card import MANIFEST
from adapter.store.adapter_folders import CONFIG, SEAL, WEIGHTS, learner_folder
from adapter.store.probe_sheet import FILE
from adapter.training.scripted_trainer import PROGRESS
from tests.integration.test_injection import Commit, end
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.needs("strace"),
]
OVER = ["v7-abandoned", ".tmp-v9"]


class Disk(Commit):
    """What predecessors have left over lies in the folder, and has to go."""

    async def begin(self) -> None:
        await super().begin()
        for name in OVER:
            (self.folder / name / "deeper").mkdir(parents=True)
            (self.folder / name / WEIGHTS).write_text("a")
            (self.folder / name / "deeper" / "more").write_text("b")

    async def recovers(self) -> None:
        await super().recovers()
        left, learner_s = sorted(self.folder.iterdir())
        assert left.name.startswith("v")
        assert left.name not in OVER
        assert learner_s == learner_folder(left)


@pytest.fixture
def disk(own_server, tmp_path: Path) -> Iterator[Disk]:
    made = Disk(own_server, tmp_path / "adapters")
    yield made
    made.client.close()


@pytest.mark.parametrize(("call", "least"), [("unlinkat", 6), ("rmdir", 2)])
async def test_killed_at_every_deletion(disk: Disk, call: str, least: int) -> None:
    points = 0
    while True:
        await disk.begin()
        if not disk.hit(call, "signal=SIGKILL", points + 1):
            break
        points += 1
        await disk.recovers()
    assert points >= least


async def test_no_file_can_be_opened_for_writing(disk: Disk) -> None:
    """Each of a candidate's in turn, and what is read in between; the attempt after it succeeds."""
    served = disk.folder / ".tmp-v1"
    names = (WEIGHTS, CONFIG, FILE, "lineage.bin", MANIFEST, "README.md", SEAL)
    files = [learner_folder(served) / PROGRESS, *(served / name for name in names)]
    log, number = disk.folder.parent / "trace", 0
    refused: set[str] = set()
    while len(refused) < len(files):
        number += 1
        await disk.begin()
        process = disk.learner(
            "strace", "-f", "-qq", "-o", str(log), *(f"--trace-path={file}" for file in files),
            "-e", "trace=openat", "-e", f"inject=openat:error=ENOSPC:when={number}",
        )  # fmt: skip
        try:
            wait_until(disk.done, 30)
        finally:
            end(process)
        [struck] = [line for line in log.read_text().splitlines() if "(INJECTED)" in line]
        refused |= {file.name for file in files if file.name in struck and "O_CREAT" in struck}
        await disk.recovers()
