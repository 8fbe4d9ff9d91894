"""Three servers against one, where each has a share of a core: `python -m loadtests.hosts.cores`.

Two cores cannot show what six would do. So each server gets the same small share of one (the CPU
controller of cgroups, root), and clients, engine, Redis and kernel have the rest: what is shared by
the servers, which is Redis and the engine, would show. Clients ask each server directly.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

from loadtests.serving_load import Load, requests_of
from loadtests.serving_sides import Side, Stage

_GROUPS = Path("/sys/fs/cgroup")
_PERIOD_US = 20_000
_TARGET = 2.7
SERVERS = 3


@contextmanager
def bounded(pid: int, share: float) -> Generator[None]:
    """The process has at most this share of a core."""
    first = (_GROUPS / "cpu").is_dir()  # version 1 of cgroups has a tree for each controller
    folder = _GROUPS / ("cpu" if first else "") / f"ratchet-{os.getpid()}-{pid}"
    folder.mkdir()
    quota = round(share * _PERIOD_US)
    try:
        if first:
            (folder / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (folder / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        (folder / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with suppress(OSError):  # it has ended
            (folder.parent / "cgroup.procs").write_text(str(pid))
        folder.rmdir()


async def rate(
    sides: list[Side], clients: int, seconds: float, rollouts: int
) -> tuple[float, float]:
    """Requests a second over these servers, by so many clients of each, and milliseconds of CPU a
    request. Raises RuntimeError if one fails."""
    body = {"model": "ratchet", "max_tokens": 32, "ratchet": {"rollouts": rollouts}}
    before = sum(side.cpu() for side in sides)
    loads = [Load(side.port, requests_of(side.port, body, side.key), clients) for side in sides]
    replies = [
        row for rows in await asyncio.gather(*(x.run(seconds) for x in loads)) for row in rows
    ]
    if any(reply.failed for reply in replies):
        raise RuntimeError("a request failed")
    spent = sum(side.cpu() for side in sides) - before
    return len(replies) / seconds, 1000 * spent / len(replies)


async def run(folder: Path, share: float, seconds: float, rounds: int) -> float:
    """Prints a row for each round; returns three servers' rate relative to one's."""
    async with Stage(folder) as stage, AsyncExitStack() as closing:
        upstream = await stage.upstream("short")
        sides = await stage.ratchets(upstream, 8, SERVERS)
        for side in sides:
            closing.enter_context(bounded(side.pid, share))
        await rate(sides, 2, 2.0, 8)  # warm
        print(f"| round | one server, requests/s (ms of CPU each) | {SERVERS} servers | ratio |")
        print("|---|---|---|---|")
        found: list[float] = []
        for number in range(rounds):
            turns = [sides[number % SERVERS : number % SERVERS + 1], sides]
            turns = turns[:: 1 - 2 * (number % 2)]  # neither always comes first
            measured = [(len(turn), *await rate(turn, 4, seconds, 8)) for turn in turns]
            (_, one, alone), (_, three, together) = sorted(measured)
            found.append(three / one)
            rates = f"{one:.0f} ({alone:.2f}) | {three:.0f} ({together:.2f})"
            print(f"| {number + 1} | {rates} | {found[-1]:.2f} |", flush=True)
        return statistics.median(found)


def main() -> int:
    """Measures; 1 if the target is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.hosts.cores", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--share", type=float, default=0.2, help="of a core for each server")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ratio = asyncio.run(run(Path(name), chosen.share, chosen.seconds, chosen.rounds))
    met = "met" if ratio >= _TARGET else "not met"
    print(f"\n{SERVERS} servers do {ratio:.2f} times what one does (target {_TARGET}: {met})")
    return int(ratio < _TARGET)


if __name__ == "__main__":
    sys.exit(main())
