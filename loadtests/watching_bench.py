"""What monitoring costs a busy server: a Prometheus scrape every five seconds, and a refresh of one
open page every two: `make bench-watching`.

The CPU of a scrape and of a refresh is measured on the idle process, after the traffic, as a share
of the one core that a busy server has. Throughput with and without monitoring is measured in turns,
in front of an upstream that answers at once. Turns differ by several per cent, so the monitored
ones are monitored `--dose` times as often, and the loss is divided by that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import uvloop

from loadtests.serving_load import Load, requests_of
from loadtests.serving_sides import Side, Stage

_SCRAPE, _REFRESH = 5.0, 2.0
_CLIENTS, _N = 8, 8


async def _times(side: Side, path: str, count: int) -> tuple[list[float], float]:
    """Seconds of each of `count` requests for a path, one by one, and the CPU seconds of one."""
    before, taken = side.cpu(), list[float]()
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            started = time.perf_counter()
            async with session.get(side.url + path) as reply:
                reply.raise_for_status()
                await reply.read()
            taken.append(time.perf_counter() - started)
    return taken, (side.cpu() - before) / count


@asynccontextmanager
async def _watched(side: Side, dose: int) -> AsyncGenerator[list[float], None]:
    """Scrapes and refreshes meanwhile, `dose` times as often as usual; yields the seconds of each
    scrape."""
    scrapes: list[float] = []

    async def every(seconds: float, path: str, kept: list[float]) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                started = time.perf_counter()
                async with session.get(side.url + path) as reply:
                    await reply.read()
                kept.append(time.perf_counter() - started)
                await asyncio.sleep(seconds)

    tasks = [
        asyncio.create_task(every(_SCRAPE / dose, "/metrics", scrapes)),
        asyncio.create_task(every(_REFRESH / dose, f"/live?since={time.time() - _REFRESH}", [])),
    ]
    try:
        yield scrapes
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.watching_bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--dose", type=int, default=50, help="times as often as usual")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        async with Stage(Path(scratch)) as stage:
            side = await stage.ratchet(await stage.upstream("short"), _N)
            body = {"model": side.model, "max_tokens": 48, "ratchet": {"rollouts": _N}}
            load = Load(side.port, requests_of(side.port, body, side.key), _CLIENTS)
            await load.run(2.0)
            ratios: list[float] = []
            scrapes: list[float] = []
            for number in range(chosen.rounds):
                plain, watched = await _turns(
                    side, load, chosen, scrapes=scrapes, watched_first=number % 2 == 1
                )
                ratios.append(watched / plain)
                print(f"round {number + 1}: {plain:.0f} and {watched:.0f} requests/s", flush=True)
            await side.settle()
            await asyncio.sleep(_REFRESH)
            seconds, scrape_cpu = await _times(side, "/metrics", 200)
            _, refresh_cpu = await _times(side, f"/live?since={time.time() - _REFRESH}", 200)
    share = scrape_cpu / _SCRAPE + refresh_cpu / _REFRESH
    median, largest = statistics.median(seconds), max(seconds)
    print(f"/metrics: median {1e3 * median:.1f} ms, largest {1e3 * largest:.1f} ms; ", end="")
    print(f"under load {1e3 * statistics.median(scrapes):.1f} ms")
    print(f"CPU of a scrape {1e3 * scrape_cpu:.2f} ms, of a refresh {1e3 * refresh_cpu:.2f} ms: "
          f"{share:.2%} of a core")  # fmt: skip
    mean, error = statistics.mean(ratios), statistics.stdev(ratios) / len(ratios) ** 0.5
    print(f"throughput watched {chosen.dose} times as often / not, mean of {len(ratios)} with its "
          f"standard error: {mean:.3f} ± {error:.3f}")  # fmt: skip
    print(f"so watching costs {(1 - mean) / chosen.dose:.2%} ± {error / chosen.dose:.2%} of it")


async def _turns(
    side: Side,
    load: Load,
    chosen: argparse.Namespace,
    *,
    scrapes: list[float],
    watched_first: bool,
) -> tuple[float, float]:
    """Requests per second without and with monitoring."""
    rates, seconds = dict[bool, float](), float(chosen.seconds)
    for watched in (watched_first, not watched_first):
        if watched:
            async with _watched(side, chosen.dose) as taken:
                rates[True] = len(await load.run(seconds)) / seconds
            scrapes.extend(taken)
        else:
            rates[False] = len(await load.run(seconds)) / seconds
    return rates[False], rates[True]


if __name__ == "__main__":
    uvloop.run(main())
