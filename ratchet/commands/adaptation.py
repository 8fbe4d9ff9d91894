"""A stack that learns from questions without labels, measured before, meanwhile and after."""

import asyncio
import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from tqdm import tqdm

from adapter.store.channels import open_releases
from evals.adaptation_report import plot_accuracy, plot_replies, release_numbers
from evals.evaluation import Evaluator, Protocol
from evals.evaluation_report import one_line, plain_summary
from evals.items import Item
from evals.statistics import paired_gain
from evals.traffic import GradingClient, TrafficLog
from ratchet.errors import ConfigurationError
from ratchet.local.price import Price, price_at
from ratchet.local.stack import Stack
from ratchet.local.watcher import Watcher
from rewards.answers.kind import AnswerKind

_SETTLE_SECONDS = 60.0
"""Most of them for what the last questions cause; on a slow machine a verdict takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`asked` are put to the server in this order. `test` measures: by `protocol` before and after,
    and by `quick` on its first `quick_questions` each time `every` more versions are promoted. Ends
    when all has been asked and learnt from, or at `updates` promoted versions, or after `minutes`.
    """

    asked: Sequence[Item]
    test: Sequence[Item]
    protocol: Protocol
    quick: Protocol
    quick_questions: int
    every: int
    updates: int | None = None
    minutes: float | None = None


class Adaptation:
    """One run of a plan on a stack of its own; pictures go to `out`."""

    def __init__(self, stack: Stack, plan: Plan, kind: AnswerKind, out: Path) -> None:
        self._stack, self._plan, self._kind, self._out = stack, plan, kind, out
        self._log = TrafficLog()
        self._points: list[tuple[int, float]] = []
        self._watcher = Watcher(stack)
        self._started = 0.0

    async def run(self) -> dict[str, Any]:
        """Measure, adapt, measure again; returns the numbers."""
        settings, plan, out = self._stack.settings, self._plan, self._out
        echo("starting engine, server, learner and Redis")
        async with (
            self._stack.running(),
            AsyncOpenAI(base_url=self._stack.url, api_key="none") as client,
            AsyncExitStack() as closing,
        ):
            store = open_releases(settings)
            closing.push_async_callback(store.close)
            if await store.all():
                raise ConfigurationError("this needs an empty database: set another redis_url")
            echo(f"live page: http://{settings.host}:{settings.port}/")
            echo(f"measuring the frozen base on {len(plan.test)} questions")
            base = Evaluator(client, f"{settings.model_name}@base", plan.protocol, self._kind)
            before = await base.grade_all(plan.test)
            echo(one_line(before))
            echo(f"asking {len(plan.asked)} questions without labels, or fewer")
            self._started, began = time.monotonic(), await price_at(self._metrics)
            async with self._watcher.running():
                await self._adapt(client)
            seconds = time.monotonic() - self._started
            echo("measuring again")
            after_version = self._log.version
            adapted = Evaluator(client, settings.model_name, plan.protocol, self._kind)
            after = await adapted.grade_all(plan.test)
            echo(one_line(after))
            learnt, live = await price_at(self._metrics), await store.live()
            cost = await self._cost(client, learnt)
            releases = await store.all()
        first, last = plain_summary(before), plain_summary(after)
        replies, memory = self._log.replies, self._watcher.peak_bytes
        few = plan.quick_questions
        ends = (0, plain_summary(before[:few])["avg"]), (live, plain_summary(after[:few])["avg"])
        plot_accuracy(
            out / "accuracy.png", [ends[0], *self._points, ends[1]], before=first, after=last,
            after_version=live, looked_at=f"the first {min(few, len(before))} questions",
        )  # fmt: skip
        plot_replies(out / "agreement.png", replies, "agreement", "Agreement")
        plot_replies(out / "reward_accuracy.png", replies, "reward_accuracy", "Reward accuracy")
        gain, interval = paired_gain([one.avg for one in before], [one.avg for one in after])
        return {
            "before": first,
            "after": last,
            "gain": gain,
            "gain_ci95": interval,
            **release_numbers(releases, self._log.first_answers),
            "requests": len(replies) + self._log.failed,
            "failed_requests": self._log.failed,
            "peak_rss_mb": round(sum(memory.values()) / 2**20),
            "peak_rss_mb_by_process": {k: round(size / 2**20) for k, size in memory.items()},
            "seed": settings.seed,
            "reward": settings.reward,
            "adaptation_seconds": round(seconds, 1),
            "live_version": max(live, after_version),
            "accuracy_over_versions": self._points,
            "while_learning": learnt.since(began).numbers(),
            **cost,
        }

    async def _cost(self, client: AsyncOpenAI, learnt: Price) -> dict[str, Any]:
        """Ask what measures as ordinary clients do, and see what the answers cost and are worth,
        while everything else goes on as it will: what they cause is part of their price."""
        plan, log = self._plan, TrafficLog()
        echo("asking the same as ordinary clients do: what does an answer cost now?")
        model, tokens = self._stack.settings.model_name, plan.protocol.max_tokens
        grading = GradingClient(client, model, self._kind, tokens)
        async with self._watcher.running():
            await grading.run(plan.test, log, done=lambda: False, ready=_at_once)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_SECONDS):
                    await self._watcher.until_settled()
        self._log.failed += log.failed
        numbers = (await price_at(self._metrics)).since(learnt).numbers()
        right = sum(reply.correct for reply in log.replies) / len(plan.test)
        echo(
            f"answers {100 * right:.1f}% right; {numbers['rollouts_per_answer']} rollouts each, "
            f"and {numbers['tokens_per_answered_token']} generated tokens for each of theirs"
        )
        return {**numbers, "answers_right": right}

    @property
    def _metrics(self) -> str:
        """Where the server's counters are."""
        return self._stack.url.removesuffix("/v1") + "/metrics"

    async def _adapt(self, client: AsyncOpenAI) -> None:
        plan, log, watcher = self._plan, self._log, self._watcher
        model = self._stack.settings.model_name
        grading = GradingClient(client, model, self._kind, plan.protocol.max_tokens)
        bar = tqdm(total=plan.updates, unit="version", disable=not sys.stderr.isatty())
        over = asyncio.Event()

        def done() -> bool:
            bar.n = watcher.promoted
            bar.set_postfix(
                asked=f"{len(log.replies)}/{len(plan.asked)}",
                agreement=f"{log.recent('agreement'):.2f}",
                measured=f"{self._points[-1][1]:.2f}" if self._points else "-",
                rejected=watcher.rejected,
            )
            return over.is_set() or self._spent()

        async def ask_all() -> None:
            await grading.run(plan.asked, log, done=done, ready=watcher.until_backlog_is_low)
            if not self._spent():
                await watcher.until_settled()
            over.set()

        await asyncio.gather(ask_all(), self._quick_checks(client, done))
        bar.close()

    def _spent(self) -> bool:
        plan = self._plan
        return (plan.updates is not None and self._watcher.promoted >= plan.updates) or (
            plan.minutes is not None and time.monotonic() - self._started > 60 * plan.minutes
        )

    async def _quick_checks(self, client: AsyncOpenAI, done: Callable[[], bool]) -> None:
        """Measure the accuracy quickly every few versions."""
        plan = self._plan
        evaluator = Evaluator(client, self._stack.settings.model_name, plan.quick, self._kind)
        while not done():
            if self._watcher.promoted >= plan.every * (len(self._points) + 1):
                version = self._watcher.live
                graded = await evaluator.grade_all(plan.test[: plan.quick_questions], quiet=True)
                self._points.append((version, plain_summary(graded)["avg"]))
                if not sys.stderr.isatty():
                    echo(
                        f"v{version}: measured {100 * self._points[-1][1]:.0f}%, "
                        f"agreement {100 * self._log.recent('agreement'):.0f}%"
                    )
            await asyncio.sleep(0.2)


async def _at_once() -> None:
    """Nothing holds the next question back."""


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


def echo(text: str) -> None:
    """Print a line without tearing a progress bar."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()
