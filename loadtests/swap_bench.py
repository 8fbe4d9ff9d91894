"""Adapter swaps under a steady load, four policies over one engine: `make bench-swap`.

- no swaps: the baseline, through our server.
- reject: requests get a 503 while the old adapter is unloaded and the new one loaded in its place.
- hold: requests wait until running ones have ended and the adapter is exchanged.
- in place: vLLM's `load_inplace` under one name, each version from a folder of its own, as vLLM
  advises; requests go on.
- versioned: ours. `ratchet serve` with releases in a real Valkey: published as the learner does,
  then promoted by hand, which the server follows: content hash, load, parity, flip, drain, unload.
  Only the gate's sampling is left out.

The other three stand in front of the same chat code (`loadtests.swap_rivals`). Every adapter
repeats a digit of its own, so each token shows its adapter. Policies take turns in short rounds.
A rejected client retries after 0.1 s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from adapter.store.adapter_folders import AdapterFolders
from adapter.store.channels import open_releases
from adapter.store.releases import AdapterRelease, promote_by_hand
from evals.arithmetic.questions import questions
from loadtests.swap_load import ROLLOUTS, Clients, mark_of, text_of
from loadtests.swap_report import Phase, Swap, plot, summary, table
from ratchet.local.child import Child
from ratchet.local.programs import free_port
from ratchet.local.stack import Stack
from ratchet.settings import StackSettings, environment_for, read
from server.settings import ServerSettings

NO_SWAPS, VERSIONED = "no swaps", "versioned"
POLICIES = (NO_SWAPS, "reject", "hold", "in place", VERSIONED)
_MARKS = "123456789"
_WARM_UP = 1.0
_SWAP_SECONDS = 60.0
_READY_SECONDS = 300.0
_POLL = 0.02
_KEPT = 10


async def main() -> None:
    """All rounds, then a table, a picture and the figures as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.swap_bench", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--swaps", type=int, default=200, help="of each policy [200]")
    parser.add_argument("--interval", type=float, default=0.5, help="seconds between swaps [0.5]")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each policy [5]")
    parser.add_argument("--clients", type=int, default=8, help="requests in flight [8]")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-swap"))
    chosen = parser.parse_args()
    started = time.monotonic()
    phases: list[Phase] = []
    with tempfile.TemporaryDirectory() as scratch:
        _log("making one adapter for each digit")
        sources = _adapters(Path(scratch) / "sources")
        async with _bench(Path(scratch), sources) as bench:
            await bench.phase(NO_SWAPS, chosen.clients, 2, 1.0)  # to warm the engine
            await bench.phase("hold", chosen.clients, 2, 1.0)
            for turn in range(chosen.rounds):
                swaps = [chosen.swaps * (turn + i) // chosen.rounds for i in (0, 1)]
                shift = turn % len(POLICIES)
                for policy in POLICIES[shift:] + POLICIES[:shift]:
                    count = swaps[1] - swaps[0]
                    phases.append(await bench.phase(policy, chosen.clients, count, chosen.interval))
                    _log(f"round {turn + 1}: {phases[-1]}")
    policies = {name: summary(name, phases, NO_SWAPS) for name in POLICIES}
    result = {
        "clients": chosen.clients,
        "rollouts": ROLLOUTS,
        "interval": chosen.interval,
        "rounds": chosen.rounds,
        "seconds": round(time.monotonic() - started),
        "policies": policies,
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    plot(chosen.out / "swaps.png", phases, POLICIES)
    print(
        f"\n{chosen.swaps} swaps each, one every {chosen.interval:g} s, {chosen.clients} clients, "
    )
    print(f"{ROLLOUTS} rollouts a request; {chosen.rounds} rounds. Times in ms.\n")
    print(table(policies))
    print(f"\n{chosen.out}/result.json, {chosen.out}/swaps.png")


class Bench:
    """A running engine, our server, the rivals' and a release store."""

    def __init__(self, stack: Stack, rivals: str, sources: Path) -> None:
        self._stack, self._rivals, self._sources = stack, rivals, sources
        self._server = f"http://{stack.settings.host}:{stack.settings.port}"
        self._store = open_releases(stack.settings)
        self._folders = AdapterFolders(stack.settings.adapters_dir)
        self._names: deque[str] = deque(maxlen=_KEPT)
        self._questions = questions(11, 2000)
        self._token = 0
        self._rivals_version = 0

    async def begin(self) -> None:
        """Take the learner's lease, pause the gate, make a version live everywhere."""
        self._token = await self._store.acquire(3600.0) or 0
        await self._store.pause("bench")
        version, release = await self._saved()
        await self._store.publish(release, self._token)
        await promote_by_hand(self._store, version)
        await self._live(version)
        await self._rival_swap("hold")

    async def end(self) -> None:
        """Release connections."""
        await self._store.close()

    async def phase(self, policy: str, count: int, swaps: int, interval: float) -> Phase:
        """Run closed-loop clients during `swaps` swaps, one every `interval` s."""
        ours = policy in (NO_SWAPS, VERSIONED)
        url = self._server if ours else self._rivals
        clients = Clients(url, self._stack.settings.model_name, self._questions, count)
        asking = asyncio.create_task(clients.run())
        await asyncio.sleep(_WARM_UP)
        begun = time.perf_counter()
        done: list[Swap] = []
        for number in range(swaps):
            tick = begun + interval * number
            async with asyncio.timeout(_SWAP_SECONDS):
                if policy == VERSIONED:
                    done.append(await self._versioned(tick))
                elif policy == NO_SWAPS:
                    await _until(tick)
                else:
                    done.append(await self._rival(policy.replace(" ", "_"), tick))
        await _until(begun + interval * swaps)
        ended = time.perf_counter()
        clients.stop()
        await asking
        counted = [reply for reply in clients.replies if begun <= reply.sent < ended]
        return Phase(policy, ended - begun, counted, done)

    async def _versioned(self, tick: float) -> Swap:
        version, release = await self._saved()
        await _until(tick)
        await self._store.publish(release, self._token)
        published = time.perf_counter()
        await promote_by_hand(self._store, version)
        await self._live(version)
        return Swap(version, published, time.perf_counter())

    async def _rival(self, how: str, tick: float) -> Swap:
        await _until(tick)
        asked = time.perf_counter()
        version = await self._rival_swap(how)
        return Swap(version, asked, time.perf_counter())

    async def _rival_swap(self, how: str) -> int:
        self._rivals_version += 1
        version = self._rivals_version
        folder = str(self._sources / mark_of(version))
        body = {"how": how, "version": version, "folder": folder}
        async with (
            aiohttp.ClientSession(self._rivals) as session,
            session.post("/swap", json=body, raise_for_status=True),
        ):
            return version

    async def _saved(self) -> tuple[int, AdapterRelease]:
        """A candidate on disk, as the learner writes it before publishing."""
        version, live = await self._store.reserve(), await self._store.live()
        source = self._sources / mark_of(version)

        def write(folder: Path) -> None:
            shutil.copytree(source, folder, dirs_exist_ok=True)

        name, digest = await asyncio.to_thread(self._folders.commit, version, write)
        self._names.append(name)
        self._folders.prune(self._names)
        release = AdapterRelease(version, live, name, digest, [f"g{version}"], {}, time.time())
        return version, release

    async def _live(self, version: int) -> None:
        """Wait until our server's own pointer is at the version; polling costs it about 1%."""
        async with aiohttp.ClientSession(self._server) as session:
            while True:
                async with session.get("/readyz") as reply:
                    if (await reply.json())["version"] == version:
                        return
                await asyncio.sleep(_POLL)


@asynccontextmanager
async def _bench(scratch: Path, sources: Path) -> AsyncGenerator[Bench, None]:
    """Start everything on loopback; stop everything at the end."""
    settings = read(
        StackSettings,
        {
            "state_dir": scratch / "state",
            "adapters_dir": scratch / "adapters",
            "port": 0,
            "engine_port": 0,
            "rollouts": ROLLOUTS,
            "vote_confidence": 1.0,
            "rollout_temperature": 0.3,  # a marker token is never sampled wrong
        },
    )
    stack = Stack(settings)
    port = free_port()
    rivals = Child(
        "rivals",
        [sys.executable, "-m", "loadtests.swap_rivals"],
        environment_for(ServerSettings, stack.settings.model_copy(update={"port": port})),
        settings.state_dir / "logs" / "rivals.log",
    )
    children = [*(stack.children[name] for name in ("redis", "engine", "server")), rivals]
    try:
        for child in children:
            await child.start()
        _log("waiting for the engine")
        addresses = [f"http://127.0.0.1:{port}" for port in (stack.settings.port, port)]
        await asyncio.gather(*map(_ready, addresses))
        bench = Bench(stack, addresses[1], sources)
        try:
            await bench.begin()
            yield bench
        finally:
            await bench.end()
    finally:
        for child in reversed(children):
            await child.stop()


async def _ready(address: str) -> None:
    async with asyncio.timeout(_READY_SECONDS), aiohttp.ClientSession(address) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get("/readyz") as reply:
                    if reply.status == 200:
                        return
            await asyncio.sleep(0.2)


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.perf_counter()))


def _adapters(root: Path) -> Path:
    """One adapter a digit, each in the folder of its mark."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_adapter, _MARKS, [root / mark for mark in _MARKS]))
    return root


def _adapter(mark: str, folder: Path) -> None:
    import torch

    from evals.arithmetic.imitation import Lesson, imitate

    torch.set_num_threads(1)
    imitate(Lesson(lambda _: text_of(mark), steps=40), folder)


def _log(text: object) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
