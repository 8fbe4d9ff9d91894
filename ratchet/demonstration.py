"""`ratchet demo`: a real stack, a small model, unlabelled questions, measured before and after."""

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from openai import AsyncOpenAI
from tqdm import tqdm

from adapter.channels import open_releases
from adapter.releases import AdapterRelease, ReleaseState
from evals.accuracy import Accuracy, Protocol, measure
from evals.adaptation import Stream, stream_questions
from evals.arithmetic.questions import Question, stream_and_held_out
from evals.plots import plot_accuracy, plot_replies
from evals.report import quantiles, report
from evals.statistics import paired_gain
from ratchet.settings import ConfigurationError, StackSettings, flags_of, read
from ratchet.stack import Stack
from rewards.equality import Equality

HELD_OUT = 200
_MID_HELD_OUT = 60
_MID_EVERY = 6
_MOST_QUESTIONS = 4000

# What the tiny model wants beyond the product's defaults.
RECIPE: dict[str, Any] = {
    "learning_rate": 5e-4,
    "groups_per_update": 16,
    "rollouts": 32,
    "gate_rollouts": 4,
    "threads": 1,
    "micro_batch_tokens": 4096,
    "port": 0,
    "engine_port": 0,
}


@dataclass(slots=True)
class Watcher:
    """Follows the stack from outside while questions stream: memory, backlog, versions."""

    stack: Stack
    backlog_limit: int
    peak_bytes: dict[str, int] = field(default_factory=dict[str, int])
    backlog: int = 0
    live: int = 0
    promoted: int = 0
    rejected: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Look twice a second for as long as the block runs."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch())
            yield
            watching.cancel()

    async def _watch(self) -> None:
        address = self.stack.url.removesuffix("/v1") + "/metrics"
        store = open_releases(self.stack.settings)
        try:
            async with aiohttp.ClientSession() as session:
                while True:
                    self._note_memory(await asyncio.to_thread(self.stack.memory))
                    async with session.get(address) as reply:
                        for line in (await reply.text()).splitlines():
                            if line.startswith("ratchet_buffer_groups "):
                                self.backlog = int(float(line.split()[1]))
                    self.live = await store.live()
                    self.count(await store.all())
                    await asyncio.sleep(0.5)
        finally:
            await store.close()

    def _note_memory(self, now: dict[str, int]) -> None:
        if sum(now.values()) > sum(self.peak_bytes.values()):
            self.peak_bytes = now

    def count(self, releases: Sequence[AdapterRelease]) -> None:
        """Tally verdicts."""
        states = [release.state for release in releases]
        self.promoted = sum(s in (ReleaseState.LIVE, ReleaseState.RETIRED) for s in states)
        self.rejected = states.count(ReleaseState.REJECTED)

    async def room(self) -> None:
        """Wait while the learner has a backlog: old rollouts would only be dropped."""
        while self.backlog > self.backlog_limit:
            await asyncio.sleep(0.05)


async def demonstrate(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if the gain is certain, or nothing got worse on an ignorant base."""
    started = time.monotonic()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    state = Path(".ratchet/demo").resolve()
    shutil.rmtree(state, ignore_errors=True)
    flags: dict[str, Any] = {
        **RECIPE,
        "state_dir": state,
        "adapters_dir": state / "adapters",
        "log_dir": state / "tensorboard",
        **flags_of(arguments),
    }
    if arguments.ignorant:
        flags["model"] = await _ignorant_base(state)
    result = await _run(arguments, Stack(read(StackSettings, flags)), out)
    result["seconds"] = round(time.monotonic() - started, 1)
    (out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    (out / "report.md").write_text(report(result))
    print(report(result))
    low, high = result["gain_ci95"]
    return int(high < 0) if arguments.ignorant else int(low <= 0)


async def _run(arguments: argparse.Namespace, stack: Stack, out: Path) -> dict[str, Any]:
    settings = stack.settings
    questions, held_out = stream_and_held_out(settings.seed, _MOST_QUESTIONS, HELD_OUT)
    quiet = not sys.stderr.isatty()
    equality = Equality()  # integers: plain equality is all there is to decide
    _say("starting engine, server, learner and Redis")
    async with (
        stack.running(),
        AsyncOpenAI(base_url=stack.url, api_key="none") as client,
    ):
        await _refuse_used_database(settings)
        _say(f"measuring the frozen base on {HELD_OUT} held-out questions")
        before = await _measure(client, f"{settings.model_name}@base", held_out, equality, quiet)
        _say(_percent(before))
        watcher = Watcher(stack, backlog_limit=settings.groups_per_update * 2)
        stream, points = Stream(), list[tuple[int, float]]()
        _say("streaming unlabelled questions")
        async with watcher.running():
            seconds = await _adapt(
                arguments, client, settings, questions, held_out, stream, equality, points, watcher
            )
        _say("measuring again")
        after_version = stream.version
        after = await _measure(client, settings.model_name, held_out, equality, quiet)
        _say(_percent(after))
        store = open_releases(settings)
        releases = await store.all()
        live = await store.live()
        await store.close()
    watcher.count(releases)
    gain, interval = paired_gain(before.avg, after.avg)
    plot_accuracy(out / "accuracy.png", points, before.summary(), live, after.summary())
    plot_replies(out / "agreement.png", stream.replies, "agreement", "Agreement")
    plot_replies(out / "reward_accuracy.png", stream.replies, "reward_accuracy", "Reward accuracy")
    return _result(settings, before, after, gain, interval, watcher, releases, stream) | {
        "adaptation_seconds": round(seconds, 1),
        "live_version": max(live, after_version),
        "accuracy_over_versions": points,
    }


async def _adapt(
    arguments: argparse.Namespace, client: AsyncOpenAI, settings: StackSettings,
    questions: Sequence[Question], held_out: Sequence[Question], stream: Stream, equality: Equality,
    points: list[tuple[int, float]], watcher: Watcher,
) -> float:  # fmt: skip
    started = time.monotonic()
    bar = tqdm(total=arguments.updates, unit="version", disable=not sys.stderr.isatty())

    def done() -> bool:
        bar.n = watcher.promoted
        bar.set_postfix(
            agreement=f"{stream.recent('agreement'):.2f}",
            held_out=f"{points[-1][1]:.2f}" if points else "-",
            rejected=watcher.rejected,
        )
        return (
            watcher.promoted >= arguments.updates
            or time.monotonic() - started > 60 * arguments.minutes
        )

    async def sample_held_out() -> None:
        """A quick look at held-out accuracy every few versions."""
        quick = Protocol(n=4, concurrency=2)
        while not done():
            if watcher.promoted >= _MID_EVERY * (len(points) + 1):
                version = watcher.live
                accuracy = await measure(
                    client, settings.model_name, held_out[:_MID_HELD_OUT], quick, equality
                )
                points.append((version, accuracy.summary()["avg"]))
                if bar.disable:
                    _say(
                        f"v{version}: held-out {100 * points[-1][1]:.0f}%, "
                        f"agreement {100 * stream.recent('agreement'):.0f}%"
                    )
            await asyncio.sleep(0.2)

    await asyncio.gather(
        stream_questions(client, settings.model_name, questions, stream, done, watcher.room),
        sample_held_out(),
    )
    bar.close()
    return time.monotonic() - started


async def _measure(
    client: AsyncOpenAI,
    model: str,
    questions: Sequence[Question],
    equality: Equality,
    quiet: bool,
) -> Accuracy:
    with tqdm(total=len(questions), unit="question", leave=False, disable=quiet) as bar:
        return await measure(client, model, questions, Protocol(), equality, lambda: bar.update(1))


async def _refuse_used_database(settings: StackSettings) -> None:
    store = open_releases(settings)
    used = await store.all()
    await store.close()
    if used:
        raise ConfigurationError("the demo needs an empty database: set another redis_url")


async def _ignorant_base(folder: Path) -> str:
    """Train a base that knows the format and nothing else."""
    target = folder / "ignorant"
    _say("training a base that knows nothing")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "evals.arithmetic", "--ignorant", "--out", str(target)
    )
    if await process.wait():
        raise RuntimeError("the ignorant base could not be made")
    return str(target)


def _result(
    settings: StackSettings, before: Accuracy, after: Accuracy, gain: float,
    interval: tuple[float, float], watcher: Watcher, releases: Sequence[AdapterRelease],
    stream: Stream,
) -> dict[str, Any]:  # fmt: skip
    promoted = [r for r in releases if r.state in (ReleaseState.LIVE, ReleaseState.RETIRED)]
    live_after = [r.verdict["seconds/total"] for r in promoted]
    answered_after = [
        stream.first_answers[r.version] - r.created_at
        for r in promoted
        if r.version in stream.first_answers
    ]
    return {
        "before": before.summary(),
        "after": after.summary(),
        "gain": gain,
        "gain_ci95": interval,
        "versions": watcher.promoted,
        "rejected": watcher.rejected,
        "parity_probed": sum("parity/to_trainer" in r.verdict for r in promoted),
        "requests": len(stream.replies) + stream.failed,
        "failed_requests": stream.failed,
        "swap_seconds": quantiles(live_after),
        "first_answer_seconds": quantiles(answered_after),
        "peak_rss_mb": round(sum(watcher.peak_bytes.values()) / 2**20),
        "peak_rss_mb_by_process": {
            name: round(size / 2**20) for name, size in watcher.peak_bytes.items()
        },
        "seed": settings.seed,
        "reward": settings.reward,
    }


def _percent(accuracy: Accuracy) -> str:
    return "  ".join(f"{key}@16 {100 * value:.1f}%" for key, value in accuracy.summary().items())


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()
