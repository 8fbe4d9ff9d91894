"""A stack that learns from questions without labels, measured before, meanwhile and after."""

import asyncio
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from tqdm import tqdm

from adapter.store.channels import open_releases
from adapter.store.releases import AdapterRelease, ReleaseState
from evals.adaptation import Asker, Stream
from evals.evaluation import Evaluator, Graded, Protocol
from evals.evaluation_report import plain_summary
from evals.items import Item
from evals.plots import plot_accuracy, plot_replies
from evals.report import quantiles
from evals.statistics import paired_gain
from ratchet.errors import ConfigurationError
from ratchet.local.stack import Stack
from ratchet.local.watcher import Watcher
from ratchet.settings import StackSettings
from rewards.answers.kind import AnswerKind


@dataclass(frozen=True, slots=True)
class Plan:
    """`asked` are put to the server in this order. `test` measures: by `protocol` before and after,
    by `glance` on its first `glance_at` questions each time `every` more versions are promoted. It
    ends when all has been asked and learnt from, or at `updates` promoted versions, or after
    `minutes`."""

    asked: Sequence[Item]
    test: Sequence[Item]
    protocol: Protocol
    glance: Protocol
    glance_at: int
    every: int
    updates: int | None = None
    minutes: float | None = None


class Adaptation:
    """One run of a plan on a stack of its own; pictures go to `out`."""

    def __init__(self, stack: Stack, plan: Plan, kind: AnswerKind, out: Path) -> None:
        self._stack, self._plan, self._kind, self._out = stack, plan, kind, out
        self._stream = Stream()
        self._points: list[tuple[int, float]] = []
        self._watcher = Watcher(stack, stack.settings.groups_per_update * 2)
        self._started = 0.0

    async def run(self) -> dict[str, Any]:
        """Everything in turn; returns the numbers."""
        settings, plan, out = self._stack.settings, self._plan, self._out
        say("starting engine, server, learner and Redis")
        async with (
            self._stack.running(),
            AsyncOpenAI(base_url=self._stack.url, api_key="none") as client,
        ):
            await _refuse_used_database(settings)
            say(f"live page: http://{settings.host}:{settings.port}/")
            say(f"measuring the frozen base on {len(plan.test)} questions")
            base = f"{settings.model_name}@base"
            before = await measured(client, base, plan.test, plan.protocol, self._kind)
            say(percent(before))
            say(f"asking {len(plan.asked)} questions without labels, or fewer")
            self._started = time.monotonic()
            async with self._watcher.running():
                await self._adapt(client)
            seconds = time.monotonic() - self._started
            say("measuring again")
            after_version = self._stream.version
            name = settings.model_name
            after = await measured(client, name, plan.test, plan.protocol, self._kind)
            say(percent(after))
            store = open_releases(settings)
            releases, live = await store.all(), await store.live()
            await store.close()
        self._watcher.count(releases)
        first, last = plain_summary(before), plain_summary(after)
        plot_accuracy(out / "accuracy.png", self._points, first, live, last)
        replies = self._stream.replies
        plot_replies(out / "agreement.png", replies, "agreement", "Agreement")
        plot_replies(out / "reward_accuracy.png", replies, "reward_accuracy", "Reward accuracy")
        gain, interval = paired_gain([one.avg for one in before], [one.avg for one in after])
        return {
            "before": first,
            "after": last,
            "gain": gain,
            "gain_ci95": interval,
            **self._counted(releases),
            "adaptation_seconds": round(seconds, 1),
            "live_version": max(live, after_version),
            "accuracy_over_versions": self._points,
        }

    async def _adapt(self, client: AsyncOpenAI) -> None:
        asker = Asker(
            client, self._stack.settings.model_name, self._kind, self._plan.protocol.max_tokens
        )
        bar = tqdm(total=self._plan.updates, unit="version", disable=not sys.stderr.isatty())
        over = asyncio.Event()

        def done() -> bool:
            bar.n = self._watcher.promoted
            bar.set_postfix(
                asked=f"{len(self._stream.replies)}/{len(self._plan.asked)}",
                agreement=f"{self._stream.recent('agreement'):.2f}",
                measured=f"{self._points[-1][1]:.2f}" if self._points else "-",
                rejected=self._watcher.rejected,
            )
            return over.is_set() or self._spent()

        async def ask_all() -> None:
            await asker.stream(self._plan.asked, self._stream, done, self._watcher.room)
            if not self._spent():
                await self._watcher.settled()
            over.set()

        await asyncio.gather(ask_all(), self._glances(client, done))
        bar.close()

    def _spent(self) -> bool:
        plan = self._plan
        return (plan.updates is not None and self._watcher.promoted >= plan.updates) or (
            plan.minutes is not None and time.monotonic() - self._started > 60 * plan.minutes
        )

    async def _glances(self, client: AsyncOpenAI, done: Any) -> None:
        """A quick look at the accuracy every few versions."""
        items, name = self._plan.test[: self._plan.glance_at], self._stack.settings.model_name
        while not done():
            if self._watcher.promoted >= self._plan.every * (len(self._points) + 1):
                version = self._watcher.live
                graded = await measured(
                    client, name, items, self._plan.glance, self._kind, quiet=True
                )
                self._points.append((version, plain_summary(graded)["avg"]))
                if not sys.stderr.isatty():
                    say(
                        f"v{version}: measured {100 * self._points[-1][1]:.0f}%, "
                        f"agreement {100 * self._stream.recent('agreement'):.0f}%"
                    )
            await asyncio.sleep(0.2)

    def _counted(self, releases: Sequence[AdapterRelease]) -> dict[str, Any]:
        watcher, stream, settings = self._watcher, self._stream, self._stack.settings
        promoted = [r for r in releases if r.state in (ReleaseState.LIVE, ReleaseState.RETIRED)]
        live_after = [r.numbers["seconds/total"] for r in promoted]
        answered_after = [
            stream.first_answers[r.version] - r.created_at
            for r in promoted
            if r.version in stream.first_answers
        ]
        return {
            "versions": watcher.promoted,
            "rejected": watcher.rejected,
            "parity_probed": sum("parity/to_trainer" in r.numbers for r in promoted),
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


def fresh_state(folder: Path) -> dict[str, Any]:
    """Settings of a stack that starts with nothing, in an emptied folder, on free ports."""
    folder = folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "state_dir": folder,
        "adapters_dir": folder / "adapters",
        "log_dir": folder / "tensorboard",
        "port": 0,
        "engine_port": 0,
    }


async def measured(
    client: AsyncOpenAI,
    model: str,
    items: Sequence[Item],
    protocol: Protocol,
    kind: AnswerKind,
    quiet: bool = False,
) -> list[Graded]:
    """The items graded, in their order, with a progress bar where somebody looks."""
    graded: dict[str, Graded] = {}
    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=len(items), unit="question", leave=False, disable=hidden) as bar:

        def keep(one: Graded) -> None:
            graded[one.id] = one
            bar.update(1)

        await Evaluator(client, model, protocol, kind).run(items, keep)
    return [graded[item.id] for item in items]


async def _refuse_used_database(settings: StackSettings) -> None:
    store = open_releases(settings)
    used = await store.all()
    await store.close()
    if used:
        raise ConfigurationError("this needs an empty database: set another redis_url")


def percent(graded: Sequence[Graded]) -> str:
    """avg, maj and pass in a line."""
    n = len(graded[0].correct)
    return "  ".join(
        f"{key}@{n} {100 * value:.1f}%" for key, value in plain_summary(graded).items()
    )


def say(text: str) -> None:
    """A line that does not tear a progress bar."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()
