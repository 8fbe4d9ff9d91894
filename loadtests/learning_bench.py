"""What learning costs clients who keep asking: `make bench-learning`.

A stack on SmolLM2-135M as `ratchet up` starts it. The same questions are asked twice, one at a time
by so many clients: first kept out of learning, so that nothing is recorded, learnt or judged; then
learnt from, with updates, parity and trials meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from adapter.store.channels import open_releases
from adapter.store.releases import ReleaseState
from evals.smollm2.questions import stream_and_held_out
from ratchet.local.models import SMOLLM2
from ratchet.local.stack import Stack
from ratchet.recipe import with_recipe
from ratchet.settings import StackSettings


@dataclass(frozen=True, slots=True)
class Asked:
    """Seconds of each reply, and how many requests failed."""

    seconds: Sequence[float]
    failed: int

    def quantile(self, share: float) -> float:
        """Seconds that so many of the replies took at most."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def row(self, name: str) -> str:
        """A row of the table."""
        quantiles = " | ".join(f"{self.quantile(share):.2f}" for share in (0.5, 0.9, 0.99))
        return f"| {name} | {len(self.seconds)} | {self.failed} | {quantiles} |"


async def ask(
    url: str, prompts: Sequence[str], clients: int, seconds: float, *, train: bool
) -> Asked:
    """So many clients ask for so many seconds."""
    questions, found, failed = itertools.cycle(prompts), list[float](), 0
    until = time.monotonic() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        while (started := time.monotonic()) < until:
            body: dict[str, Any] = {
                "model": "ratchet", "messages": [{"role": "user", "content": next(questions)}],
                "max_tokens": 24, "ratchet": {"train": train},
            }  # fmt: skip
            async with session.post(f"{url}/chat/completions", json=body) as reply:
                await reply.read()
                failed += reply.status != 200
            found.append(time.monotonic() - started)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return Asked(found, failed)


async def measure(settings: StackSettings, clients: int, seconds: float) -> dict[str, Any]:
    """Both rounds on a stack of its own."""
    prompts = [item.prompt for item in stream_and_held_out(settings.seed, 2000, 3)[0]]
    stack = Stack(settings)
    async with stack.running():
        await ask(stack.url, prompts, clients, min(20.0, seconds), train=False)
        quiet = await ask(stack.url, prompts, clients, seconds, train=False)
        learning = await ask(stack.url, prompts, clients, seconds, train=True)
        store = open_releases(settings)
        releases = await store.all()
        await store.close()
    print("| round | replies | failed | p50 s | p90 s | p99 s |\n|---|---|---|---|---|---|")
    print(quiet.row("nothing is learnt") + "\n" + learning.row("learning"))
    ratio = learning.quantile(0.99) / quiet.quantile(0.99)
    decided = sum(release.state is not ReleaseState.CANDIDATE for release in releases)
    print(f"\np99 {ratio:.2f} times, {decided} verdicts meanwhile")
    return {"ratio": ratio, "verdicts": decided, "failed": quiet.failed + learning.failed}


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.learning_bench", description=__doc__)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=240.0, help="of either round")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        own = {"state_dir": folder, "adapters_dir": f"{folder}/adapters", "port": 0}
        settings = StackSettings(
            model=SMOLLM2, models_dir=Path(".ratchet/models"), log_dir=f"{folder}/tensorboard",
            engine_port=0, **own,
        )  # fmt: skip
        print(
            json.dumps(asyncio.run(measure(with_recipe(settings), chosen.clients, chosen.seconds)))
        )


if __name__ == "__main__":
    main()
