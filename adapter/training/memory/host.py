"""Memory of this machine, or of the container that this process is in. No torch."""

import os
from dataclasses import dataclass
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that a process may take: `free` now, `total` if nothing else ran."""

    free: int
    total: int


def host_memory(cgroup: Path = _CGROUP, meminfo: Path = _MEMINFO) -> Room:
    """Of the host, or of its cgroup (version 2) where that has a limit."""
    if not meminfo.is_file():  # not Linux
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return Room(total, total)
    lines = (line.split() for line in meminfo.read_text().splitlines())
    kib = {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}
    free, total = kib["MemAvailable"] << 10, kib["MemTotal"] << 10
    limit = cgroup / "memory.max"
    given = limit.read_text().strip() if limit.is_file() else "max"
    if given == "max":
        return Room(free, total)
    used = int((cgroup / "memory.current").read_text())
    return Room(min(free, max(0, int(given) - used)), min(total, int(given)))
