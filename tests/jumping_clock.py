"""A wall clock for one process that can be set while it runs.

Only what tells the time of day is shifted, as when somebody sets a machine's clock: what measures
durations (CLOCK_MONOTONIC) goes on as before, which libfaketime cannot do for a running process.
"""

import mmap
import struct
import subprocess
from pathlib import Path

from tests.programs import program

DAY = 86_400

_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *offset;

__attribute__((constructor)) static void attach(void) {
  void *page = mmap(0, 8, PROT_READ, MAP_SHARED, open(getenv("CLOCK_OFFSET"), O_RDONLY), 0);
  if (page == MAP_FAILED) abort();
  offset = page;
}

int clock_gettime(clockid_t id, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, id, now);
  if (!failed && offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
    now->tv_sec += *offset;
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec exact;
  int failed = clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return failed;
}

time_t time(time_t *result) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (result) *result = exact.tv_sec;
  return exact.tv_sec;
}
"""


class JumpingClock:
    """`environment` gives a process this clock; `jump` sets it, for all that have it."""

    def __init__(self, folder: Path) -> None:
        source, library, offset = folder / "clock.c", folder / "clock.so", folder / "clock.offset"
        source.write_text(_SOURCE)
        command = [program("cc"), "-shared", "-fPIC", "-O1", "-o", str(library), str(source)]
        subprocess.run(command, check=True)
        offset.write_bytes(struct.pack("<q", 0))
        with offset.open("r+b") as file:
            self._offset = mmap.mmap(file.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(offset)}

    def jump(self, seconds: int) -> None:
        """Set it this far ahead of the true time, or behind."""
        self._offset[:] = struct.pack("<q", seconds)
