"""Does the gate tell bad adapters from honest ones? On the real engine: `make bench-gate`.

The server's own promoter judges, without labels: every known-bad adapter against base and against
an honest live version, then honest updates one after the other, each learnt from the one before.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import torch
from tqdm import tqdm

from adapter.store.adapter_folders import AdapterFolders
from adapter.store.memory_releases import MemoryReleases
from adapter.store.releases import AdapterRelease, ReleaseState
from evals.arithmetic.bad_adapters import BAD_ADAPTERS, build_honest
from evals.arithmetic.practice import Practice
from evals.arithmetic.questions import questions
from evals.arithmetic.sampler import MAX_NEW_TOKENS
from loadtests.engine_process import engine, until_up
from server.parts import Parts
from server.recording.reservoir import Query
from server.settings import ServerSettings

_QUERIES = 200
_GROUPS = 16


class Judge:
    """The server's promoter over a real engine, with releases in memory."""

    def __init__(self, parts: Parts, adapters: Path) -> None:
        assert isinstance(parts.releases, MemoryReleases)
        self.parts, self.releases = parts, parts.releases
        self.folders = AdapterFolders(adapters)

    @staticmethod
    @asynccontextmanager
    async def at(engine_url: str, adapters: Path) -> AsyncGenerator[Judge, None]:
        """A judge with enough queries in its reservoir; waits until the engine generates."""
        settings = ServerSettings(
            redis_url="memory://", adapters_dir=adapters, engine_url=engine_url,
            gate_holdout=0, gate_prompts=16,
        )  # fmt: skip
        parts = Parts(settings)
        for question in questions(99, _QUERIES):
            message = {"role": "user", "content": question.text}
            parts.reservoir.add(question.id, Query([message], {"max_tokens": MAX_NEW_TOKENS}))
        try:
            await until_up(parts.engine)
            yield Judge(parts, adapters)
        finally:
            parts.close_judges()
            await parts.engine.close()

    async def decide(self, write: Callable[[Path], None], kl: float = 0.01) -> AdapterRelease:
        """Publish a candidate, a child of the live version, and have it judged."""
        version = await self.releases.reserve()
        name, digest = await asyncio.to_thread(self.folders.commit, version, write)
        token = await self.releases.acquire(60.0)
        assert token is not None
        parent = await self.releases.live()
        await self.releases.publish(
            AdapterRelease(version, parent, name, digest, [], {"kl": kl}, time.time()), token
        )
        await self.releases.resign(token)
        await self.parts.promoter.sync()
        return await self.releases.get(version)


def copied(source: Path) -> Callable[[Path], None]:
    """Writes a finished adapter folder into a candidate's."""

    def write(target: Path) -> None:
        shutil.copytree(source, target, dirs_exist_ok=True)

    return write


def _novel(release: AdapterRelease) -> float:
    """How much that a reference never gives it agrees on, by the reference of which most is new."""
    return max((n for name, n in release.numbers.items() if name.endswith("/novel")), default=0.0)


async def _bad(judge: Judge, folders: dict[str, Path], against: str) -> int:
    passed = 0
    for name, folder in folders.items():
        release = await judge.decide(copied(folder))
        live = release.state is ReleaseState.LIVE
        passed += live
        verdict = "PASSED" if live else "rejected"
        print(f"| {name} | {against} | {verdict} | {_novel(release):.2f} | {release.reason} |")
        sys.stdout.flush()
        if live:
            await judge.releases.promote(release.parent, release.version, "undone")
            await judge.parts.promoter.sync()
    return passed


async def _honest(judge: Judge, updates: int, seed: int) -> int:
    practice, rejected = Practice(seed), 0
    asked = questions(seed, updates * _GROUPS)
    for number in range(updates):
        batch = asked[number * _GROUPS : (number + 1) * _GROUPS]
        kl = (await asyncio.to_thread(practice.step, batch)).metrics["kl"]
        release = await judge.decide(practice.save_into, kl)
        if release.state is not ReleaseState.LIVE:
            practice.undo()
            rejected += 1
        seconds = release.numbers["seconds/gate"]
        why = f"{_novel(release):.2f} | {release.reason} | {seconds:.1f} |"
        print(f"| update {number + 1} | {release.state.value} | {why}")
        sys.stdout.flush()
    return rejected


def main() -> int:
    """Builds adapters, starts an engine, judges; 1 if a bad one passes or two good ones fail."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.gate_bench", description=__doc__)
    parser.add_argument("--updates", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)

    async def run(folder: Path, url: str) -> tuple[int, int]:
        honest = folder / "honest"
        build_honest(honest)
        bad: dict[str, Path] = {}
        for name, build in tqdm(BAD_ADAPTERS.items(), "building", disable=None):
            bad[name] = folder / name
            build(bad[name], honest)
        print("\n| adapter | live version | verdict | novel | why |\n|---|---|---|---|---|")
        async with Judge.at(url, folder / "adapters") as judge:
            passed = await _bad(judge, bad, "base")
            release = await judge.decide(copied(honest))
            why = f"{_novel(release):.2f} | {release.reason} |"
            print(f"| honest, 12 updates | base | {release.state.value} | {why}")
            passed += await _bad(judge, bad, "honest")
        print("\n| honest | verdict | novel | why | gate, s |\n|---|---|---|---|---|")
        async with Judge.at(url, folder / "lineage") as judge:
            rejected = await _honest(judge, chosen.updates, chosen.seed)
        return passed, rejected

    with tempfile.TemporaryDirectory() as name, engine(Path(name)) as url:
        passed, rejected = asyncio.run(run(Path(name), url))
    trials = 2 * len(BAD_ADAPTERS)
    print(f"\n{passed} of {trials} trials of bad adapters passed, ", end="")
    print(f"{rejected} of {chosen.updates} honest updates were rejected")
    return int(passed > 0 or rejected > 1)


if __name__ == "__main__":
    sys.exit(main())
