"""`ratchet demo`: a real stack, a small model, unlabelled questions, measured before and after."""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from evals.adaptation_report import write_report
from evals.arithmetic.questions import as_items, stream_and_held_out
from evals.evaluation import Protocol
from ratchet.commands.adaptation import Adaptation, Plan, echo, fresh_state
from ratchet.local.stack import Stack
from ratchet.recipe import TINY_RECIPE
from ratchet.settings import StackSettings, flags_of, read
from rewards.answers.math_answers import MathAnswers

HELD_OUT = 200
_QUICK_QUESTIONS = 60
_EVERY = 6
_MOST_QUESTIONS = 4000
_TOKENS = 64


async def demo(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if the gain is significant, or if an ignorant base got no worse."""
    started = time.monotonic()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    state = Path(".ratchet/demo")
    flags: dict[str, Any] = {**TINY_RECIPE, **fresh_state(state), **flags_of(arguments)}
    if arguments.ignorant:
        flags["model"] = await _ignorant_base(state)
    stack = Stack(read(StackSettings, flags))
    stream, held_out = stream_and_held_out(stack.settings.seed, _MOST_QUESTIONS, HELD_OUT)
    plan = Plan(
        asked=as_items(stream),
        test=as_items(held_out),
        protocol=Protocol(max_tokens=_TOKENS, concurrency=8),
        quick=Protocol(n=4, max_tokens=_TOKENS, concurrency=2),
        quick_questions=_QUICK_QUESTIONS,
        every=_EVERY,
        updates=arguments.updates,
        minutes=arguments.minutes,
    )
    # Integers: plain equality is all there is to decide.
    result = await Adaptation(stack, plan, MathAnswers(), out).run()
    result["seconds"] = round(time.monotonic() - started, 1)
    title = f"Ratchet demo: reward `{result['reward']}`, seed {result['seed']}"
    print(write_report(out, title, result))
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
