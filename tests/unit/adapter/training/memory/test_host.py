"""Memory of a host, and of a container with a limit."""

from pathlib import Path

import pytest

from adapter.training.memory.host import Room, host_memory


@pytest.mark.parametrize(
    ("limit", "room"), [("max", Room(600 << 10, 1000 << 10)), ("409600", Room(307200, 409600))]
)
def test_a_limit_counts(tmp_path: Path, limit: str, room: Room) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 600 kB\n")
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text("102400\n")
    assert host_memory(tmp_path, meminfo) == room


def test_this_host_has_some() -> None:
    room = host_memory()
    assert 0 < room.free <= room.total
