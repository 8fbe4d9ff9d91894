"""`ratchet demo`: a real stack, a small model, unlabelled questions, measured before and after."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evals.adaptation_report import write_report
from evals.arithmetic import questions as arithmetic
from evals.evaluation import Protocol
from evals.items import Item
from evals.smollm2 import questions as words
from ratchet.commands.adaptation import Adaptation, Plan, echo, fresh_state
from ratchet.local.models import SMOLLM2
from ratchet.local.stack import Stack
from ratchet.recipe import NUMBERS, with_all_cores, with_recipe
from ratchet.settings import StackSettings, flags_of, read
from rewards.answers.kinds import AnswerKinds


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a model is shown: `draw` gives, for a seed, so many questions to ask and so many others
    to measure by. `n` rollouts of `tokens` each measure; a quick look takes the first
    `quick_questions` each time `every` more versions are promoted."""

    out: str
    draw: Callable[[int, int, int], tuple[list[Item], list[Item]]]
    held_out: int
    n: int
    tokens: int
    quick_questions: int
    every: int
    updates: int
    minutes: float
    quick_concurrency: int = 2
    asked: int = 4000


def _sums(seed: int, count: int, held_out: int) -> tuple[list[Item], list[Item]]:
    stream, test = arithmetic.stream_and_held_out(seed, count, held_out)
    return arithmetic.as_items(stream), arithmetic.as_items(test)


TINY = Course(
    out="runs/demo", draw=_sums, held_out=200, n=16, tokens=64, quick_questions=60, every=6,
    updates=24, minutes=4.0,
)  # fmt: skip
REAL = Course(
    out="runs/demo-lm", draw=words.stream_and_held_out, held_out=60, n=8, tokens=32,
    quick_questions=20, every=2, updates=10, minutes=30.0, quick_concurrency=8,
)  # fmt: skip


async def demo(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if the gain is significant, or if an ignorant base got no worse."""
    started = time.monotonic()
    state = Path(".ratchet/demo")
    settings = read(StackSettings, {**fresh_state(state), **flags_of(arguments)})
    course = REAL if settings.model == SMOLLM2 else TINY
    settings = with_recipe(settings)
    if course is REAL:
        settings = with_all_cores(settings)
    if "answer" not in settings.model_fields_set:
        settings = settings.model_copy(update={"answer": NUMBERS})
    if arguments.ignorant:
        settings = settings.model_copy(update={"model": await _ignorant_base(state)})
    out = Path(arguments.out or course.out)
    out.mkdir(parents=True, exist_ok=True)
    asked, test = course.draw(settings.seed, course.asked, course.held_out)
    plan = Plan(
        asked=asked,
        test=test,
        protocol=Protocol(n=course.n, max_tokens=course.tokens, concurrency=8),
        quick=Protocol(n=4, max_tokens=course.tokens, concurrency=course.quick_concurrency),
        quick_questions=course.quick_questions,
        every=course.every,
        updates=arguments.updates or course.updates,
        minutes=arguments.minutes or course.minutes,
    )
    # Integers: plain equality is all there is to decide.
    kind = AnswerKinds().of(settings.answer_choice)
    result = await Adaptation(Stack(settings), plan, kind, out).run()
    result["seconds"] = round(time.monotonic() - started, 1)
    title = f"Ratchet demo: reward `{result['reward']}`, seed {result['seed']}"
    print(write_report(out, title, result, course.n))
    low, high = result["gain_ci95"]
    return int(high < 0) if arguments.ignorant else int(low <= 0)


async def _ignorant_base(folder: Path) -> str:
    """Train a base that knows only the format of answers."""
    target = folder.resolve() / "ignorant"
    echo("training a base that knows nothing")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "evals.arithmetic", "--ignorant", "--out", str(target)
    )
    if await process.wait():
        raise RuntimeError("the ignorant base could not be made")
    return str(target)
