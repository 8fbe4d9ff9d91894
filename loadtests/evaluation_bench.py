"""Does an evaluation keep the engine busy? Its rollouts per second against a bare load generator's,
on the same vLLM with the same requests, in turns: `make bench-evaluation`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from openai import AsyncOpenAI

from evals.evaluation import Evaluator, Graded, Protocol
from evals.items import Item
from evals.presets import ARITHMETIC, load
from loadtests.engine_process import engine
from rewards.answers.kind import AnswerKind
from rewards.answers.math_answers import MathAnswers
from rewards.answers.math_judge import MathJudge

_PROTOCOL = Protocol(max_tokens=64)
_START_SECONDS = 120.0


async def bare(url: str, model: str, items: Sequence[Item]) -> float:
    """Seconds for all questions by a client that discards the replies."""
    waiting = iter(items)
    started = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            for item in waiting:
                body = {
                    "model": model, "messages": [{"role": "user", "content": item.prompt}],
                    "n": _PROTOCOL.n, "temperature": _PROTOCOL.temperature,
                    "top_p": _PROTOCOL.top_p, "max_tokens": _PROTOCOL.max_tokens,
                }  # fmt: skip
                async with session.post(f"{url}/chat/completions", json=body) as reply:
                    reply.raise_for_status()
                    await reply.read()

        await asyncio.gather(*(work() for _ in range(_PROTOCOL.concurrency)))
    return time.perf_counter() - started


async def evaluation(url: str, model: str, items: Sequence[Item], kind: AnswerKind) -> float:
    """Seconds for all questions by the evaluator, grading and all."""
    graded: list[Graded] = []
    started = time.perf_counter()
    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        await Evaluator(client, model, _PROTOCOL, kind).run(items, graded.append)
    assert len(graded) == len(items)
    return time.perf_counter() - started


async def _ready(url: str) -> None:
    """Wait until the engine answers."""
    async with asyncio.timeout(_START_SECONDS), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/models") as reply:
                    if reply.ok:
                        return
            await asyncio.sleep(0.2)


async def _rounds(url: str, rounds: int) -> list[float]:
    items = load(ARITHMETIC)
    await _ready(url)
    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        model = (await client.models.list()).data[0].id
    ratios: list[float] = []
    with MathJudge() as judge:
        await bare(url, model, items[:40])  # warm
        for number in range(rounds):
            first = await bare(url, model, items)
            second = await evaluation(url, model, items, MathAnswers(judge))
            third = await bare(url, model, items)
            rate = len(items) * _PROTOCOL.n
            ratios.append((first + third) / 2 / second)
            print(
                f"round {number + 1}: bare {rate / first:.0f} and {rate / third:.0f}, evaluation "
                f"{rate / second:.0f} rollouts/s: {ratios[-1]:.3f}",
                flush=True,
            )
    return ratios


def main() -> None:
    """Start an engine, take turns, print the ratio."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.evaluation_bench", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, engine(Path(name)) as url:
        ratios = asyncio.run(_rounds(f"{url}/v1", chosen.rounds))
    print(f"evaluation / bare, median of {chosen.rounds}: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
