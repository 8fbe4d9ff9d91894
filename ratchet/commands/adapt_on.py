"""`ratchet adapt-on`: the papers' offline setting, an unlabelled test set learnt from in epochs."""

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evals.evaluation import EvaluationStopped, Protocol
from evals.items import Item
from evals.presets import PRESETS
from evals.report import report
from ratchet.commands.adaptation import Adaptation, Plan, fresh_state
from ratchet.commands.evaluation import items_from, protocol_from
from ratchet.errors import ConfigurationError
from ratchet.local.stack import Stack
from ratchet.recipe import fitted
from ratchet.settings import StackSettings, flags_of, read
from rewards.answers.math_answers import MathAnswers
from rewards.answers.math_judge import MathJudge

_GLANCE = 4


def epochs_for(dataset: str, size: int) -> int:
    """TTRL's epochs: 80 for AIME 2024, 30 for AMC, 10 for MATH-500; elsewhere as for that one of
    them which is nearest in size (30, 83 and 500 questions)."""
    if dataset in PRESETS and (known := PRESETS[dataset].epochs) is not None:
        return known
    return 80 if size < 50 else 30 if size < 200 else 10


def in_epochs(items: Sequence[Item], epochs: int, seed: int) -> Iterator[Item]:
    """The items again and again, each time in another order."""
    rng = random.Random(seed)
    for _ in range(epochs):
        yield from rng.sample(items, len(items))


async def adapt_on(arguments: argparse.Namespace) -> int:
    """Adapt a stack of its own to the data set; 0 if avg@n gained for certain."""
    started = time.monotonic()
    items = items_from(arguments)
    out = Path(arguments.out or f"runs/adapt-on/{Path(arguments.dataset).stem}")
    flags: dict[str, Any] = {**fresh_state(Path(".ratchet/adapt-on")), **flags_of(arguments)}
    settings = fitted(read(StackSettings, flags))
    protocol = protocol_from(arguments, settings.max_model_len // 2)
    epochs = arguments.epochs or epochs_for(arguments.dataset, len(items))
    if protocol.max_tokens >= settings.max_model_len:
        raise ConfigurationError(
            f"--max-tokens {protocol.max_tokens} leaves no room for a prompt: max_model_len is "
            f"{settings.max_model_len}"
        )
    out.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        asked=list(in_epochs(items, epochs, settings.seed)),
        test=items,
        protocol=protocol,
        glance=Protocol(
            n=_GLANCE,
            temperature=protocol.temperature,
            top_p=protocol.top_p,
            max_tokens=protocol.max_tokens,
            concurrency=2,
        ),
        glance_at=len(items),
        every=arguments.every,
        minutes=arguments.minutes,
    )
    with MathJudge(settings.equality_deadline) as judge:
        try:
            result = await Adaptation(Stack(settings), plan, MathAnswers(judge), out).run()
        except* EvaluationStopped as stopped:
            raise ConfigurationError(str(stopped.exceptions[0])) from None
    result |= {"dataset": arguments.dataset, "epochs": epochs}
    result["seconds"] = round(time.monotonic() - started, 1)
    (out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    title = f"{arguments.dataset}, {epochs} epochs without labels: reward `{result['reward']}`"
    page = report(title, result, protocol.n)
    (out / "report.md").write_text(page)
    print(page)
    return int(result["gain_ci95"][0] <= 0)
