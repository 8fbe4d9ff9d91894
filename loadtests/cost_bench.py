"""What an answer costs as the model learns: `make bench-cost`.

One stack, as `ratchet demo` starts it, asked three times over by four clients: every vote with all
its rollouts, and votes in waves, both kept out of learning; then votes in waves with learning. By
windows of so many questions: how many answers were right, rollouts of a vote, and the tokens
generated for each token of an answer, learning and judging included. Draws the three as curves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
from openai import AsyncOpenAI

from evals.arithmetic import questions as arithmetic
from evals.items import Item
from evals.smollm2 import questions as words
from ratchet.commands.adaptation import fresh_state
from ratchet.local.models import SMOLLM2
from ratchet.local.price import price_at
from ratchet.local.stack import Stack
from ratchet.local.watcher import Watcher
from ratchet.recipe import NUMBERS, with_all_cores, with_recipe
from ratchet.settings import StackSettings, read
from rewards.answers.kind import AnswerKind
from rewards.answers.kinds import AnswerKinds

matplotlib.use("Agg")

import matplotlib.pyplot as plt

_CLIENTS = 4
ARMS: Mapping[str, Mapping[str, Any]] = {
    "all rollouts, not learning": {"confidence": 1.0, "train": False},
    "waves, not learning": {"train": False},
    "waves, learning": {},
}
"""What each arm asks for, in the request's `ratchet`."""


@dataclass(frozen=True, slots=True)
class Window:
    """Some questions in a row: how many had been asked by their end, and what became of them."""

    asked: int
    right: float
    rollouts: float
    price: float
    version: int


class Bench:
    """A stack that is asked; `limit` is the most tokens of a reply."""

    def __init__(self, stack: Stack, kind: AnswerKind, limit: int) -> None:
        self._stack, self._kind, self._limit = stack, kind, limit
        self._watcher = Watcher(stack)

    async def arm(
        self, ours: Mapping[str, Any], items: Sequence[Item], size: int, minutes: float
    ) -> list[Window]:
        """Ask the items, in windows of `size`, for so many minutes at most."""
        found, until = list[Window](), time.monotonic() + 60 * minutes
        address = self._stack.url.removesuffix("/v1") + "/metrics"
        async with (
            AsyncOpenAI(base_url=self._stack.url, api_key="none") as client,
            self._watcher.running(),
        ):
            for start in range(0, len(items), size):
                window = items[start : start + size]
                before = await price_at(address)
                right = await self._ask(client, ours, window)
                cost = (await price_at(address)).since(before).numbers()
                found.append(Window(
                    asked=size * len(found) + len(window), right=right / len(window),
                    rollouts=cost["rollouts_per_answer"] or 0.0,
                    price=cost["tokens_per_answered_token"] or 0.0,
                    version=self._watcher.live,
                ))  # fmt: skip
                print(found[-1], flush=True)
                if time.monotonic() > until:
                    break
        return found

    async def _ask(
        self, client: AsyncOpenAI, ours: Mapping[str, Any], items: Sequence[Item]
    ) -> int:
        """How many of the answers are right."""
        remaining, right = iter(items), 0

        async def ask_in_turn() -> None:
            nonlocal right
            for item in remaining:
                await self._watcher.until_backlog_is_low()
                reply = await client.chat.completions.create(
                    model=self._stack.settings.model_name,
                    messages=[{"role": "user", "content": item.prompt}],
                    max_tokens=self._limit,
                    extra_body={"ratchet": dict(ours)},
                )
                answer = (reply.model_extra or {})["ratchet"]["answer"]
                right += answer is not None and self._kind.same(answer, item.answer)

        await asyncio.gather(*(ask_in_turn() for _ in range(_CLIENTS)))
        return right


def report(arms: Mapping[str, Sequence[Window]], last: int) -> str:
    """A table of the last `last` windows of each arm."""
    rows = [
        "| | questions | answers right | rollouts of a vote | tokens for each of an answer |",
        "|---|---|---|---|---|",
    ]
    for name, windows in arms.items():
        end = windows[-last:]
        means = [sum(getattr(w, field) for w in end) / len(end) for field in _SHOWN]
        rows.append(
            f"| {name} | {windows[-1].asked} | {100 * means[0]:.1f}% | {means[1]:.2f} | "
            f"{means[2]:.2f} |"
        )
    return "\n".join(rows)


_SHOWN = {
    "right": "Answers that are right",
    "rollouts": "Rollouts of a vote",
    "price": "Generated tokens for each token of an answer",
}


def draw(path: Path, arms: Mapping[str, Sequence[Window]]) -> None:
    """The three figures over the questions asked."""
    figure, axes = plt.subplots(1, len(_SHOWN), figsize=(13, 3.6), layout="constrained")
    for axis, (field, title) in zip(axes, _SHOWN.items(), strict=True):
        for name, windows in arms.items():
            values = [getattr(window, field) for window in windows]
            if name == "waves, learning":
                axis.plot([window.asked for window in windows], values, label=name, linewidth=2)
            else:  # nothing changes there
                axis.axhline(
                    sum(values) / len(values), label=name, linestyle="--",
                    color="grey" if "all" in name else "tab:orange",
                )  # fmt: skip
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("questions asked")
        axis.set_ylim(bottom=0)
    axes[0].legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


async def main(arguments: argparse.Namespace) -> None:
    """Measure, print, draw."""
    flags = {**fresh_state(Path(".ratchet/bench-cost")), "seed": arguments.seed}
    if arguments.model:
        flags["model"] = arguments.model
    settings = with_recipe(read(StackSettings, flags))
    real = arguments.model == SMOLLM2
    settings = with_all_cores(settings) if real else settings
    settings = settings.model_copy(update={"answer": NUMBERS})
    if real:
        asked, test = words.stream_and_held_out(arguments.seed, 4_000, 60)
    else:
        stream, held_out = arithmetic.stream_and_held_out(arguments.seed, 8_000, 200)
        asked, test = arithmetic.as_items(stream), arithmetic.as_items(held_out)
    size, limit = (20, 32) if real else (100, 64)
    stack = Stack(settings)
    arms = dict[str, list[Window]]()
    bench = Bench(stack, AnswerKinds().of(settings.answer_choice), limit)
    async with stack.running():
        for name, ours in ARMS.items():
            print(name, flush=True)
            items, minutes = (asked, arguments.minutes) if not ours else (test, 5.0)
            arms[name] = await bench.arm(ours, items, size, minutes)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    rows = {name: [asdict(window) for window in windows] for name, windows in arms.items()}
    (out / "cost.json").write_text(json.dumps(rows, indent=1))
    draw(out / "cost.png", arms)
    print(report(arms, 2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="", help="smollm2; by default the small model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=5.0, help="of learning")
    parser.add_argument("--out", default="runs/cost")
    asyncio.run(main(parser.parse_args()))
