"""`ratchet eval`: the papers' protocol on an endpoint; `ratchet compare`: two runs, paired."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from tqdm import tqdm

from evals.evaluation import EndpointFailed, Evaluator, Graded, Protocol
from evals.evaluation_report import comparison_page, gains, write_report
from evals.evaluation_run import EvaluationRun, RunInvalid
from evals.items import DatasetInvalid, Item
from evals.presets import ARITHMETIC, answer_choice_for, load
from ratchet.commands.answers import choice_from
from ratchet.errors import ConfigurationError, as_configuration_error
from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.answers.math_judge import MathJudge

_COLUMNS = ("id", "prompt", "answer", "level")


def items_from(arguments: argparse.Namespace, dataset: str | None = None) -> list[Item]:
    """The data set that the arguments name, or another one read in the same way. Raises
    ConfigurationError."""
    columns: dict[str, str] = {}
    for setting in arguments.column:
        name, equals, value = setting.partition("=")
        if not equals or name not in _COLUMNS or not value:
            raise ConfigurationError(
                f"--column {setting!r}: must be one of {', '.join(_COLUMNS)}, =, and a column"
            )
        columns[name] = value
    with as_configuration_error(DatasetInvalid):
        items = load(
            dataset or arguments.dataset,
            columns=columns,
            split=arguments.split,
            config=arguments.config,
            source=arguments.source,
        )
    return items[: arguments.limit]


def protocol_from(arguments: argparse.Namespace, max_tokens: int) -> Protocol:
    """How to sample, by the arguments; `max_tokens` is for those that do not set it. Raises
    ConfigurationError."""
    for name, least in (("n", 1), ("max_tokens", 1), ("concurrency", 1), ("per_request", 0)):
        given = getattr(arguments, name)
        if given is not None and given < least:
            raise ConfigurationError(f"--{name.replace('_', '-')} must be at least {least}")
    return Protocol(
        n=arguments.n,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        max_tokens=arguments.max_tokens or max_tokens,
        concurrency=arguments.concurrency,
        per_request=arguments.per_request,
        seconds=arguments.seconds,
    )


async def evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate; 1 if the endpoint failed half-way. The folder keeps what is graded either way."""
    items = items_from(arguments)
    protocol = protocol_from(arguments, 64 if arguments.dataset == ARITHMETIC else 3072)
    name = Path(arguments.dataset).stem.replace("/", "-")
    folder = Path(arguments.out or f"runs/eval/{name}-{arguments.model.replace('/', '-')}")
    usual = answer_choice_for(arguments.dataset)
    answer = choice_from(arguments.answer) if arguments.answer else usual
    meta: dict[str, Any] = {
        "dataset": arguments.dataset,
        **({} if answer == usual else {"answer": answer.to_json()}),
        "url": arguments.url,
        "model": arguments.model,
        **protocol.sampling(),
    }
    with as_configuration_error(RunInvalid):
        run = EvaluationRun.begin(folder, meta)
    ids = [item.id for item in items]
    stopped = await _grade(arguments, run, items, protocol, answer)
    if run.ordered(ids):
        print(write_report(run, ids))
    print(f"{len(run.ordered(ids))} of {len(ids)} questions in {folder}")
    if stopped:
        print(
            f"ratchet: {stopped}; what was graded is kept, the same command goes on from there",
            file=sys.stderr,
        )
    return int(stopped is not None)


async def _grade(
    arguments: argparse.Namespace,
    run: EvaluationRun,
    items: Sequence[Item],
    protocol: Protocol,
    answer: AnswerChoice,
) -> EndpointFailed | None:
    """Grade what is missing; returns the failure that stopped it, if any."""
    key = os.environ.get("OPENAI_API_KEY") or "none"
    already = [item.id for item in items if item.id in run.graded]
    started, quiet = time.monotonic(), not sys.stderr.isatty()
    client = AsyncOpenAI(base_url=arguments.url, api_key=key)
    with (
        MathJudge(arguments.deadline) as judge,
        run.writer() as rows,
        tqdm(total=len(items), initial=len(already), unit="question", disable=quiet) as bar,
    ):
        right: list[float] = [run.graded[each].avg for each in already]

        def keep(graded: Graded) -> None:
            rows.keep(graded)
            right.append(graded.avg)
            bar.set_postfix(avg=f"{sum(right) / len(right):.3f}", refresh=False)
            bar.update(1)
            if quiet and len(right) % max(1, len(items) // 10) == 0:
                minutes = (time.monotonic() - started) / 60
                print(f"{len(right)} of {len(items)} questions, {minutes:.1f} min", flush=True)

        evaluator = Evaluator(client, arguments.model, protocol, AnswerKinds(judge).of(answer))
        try:
            await evaluator.run(items, keep, already)
        except EndpointFailed as stopped:
            return stopped
        finally:
            await client.close()
    return None


def compare(arguments: argparse.Namespace) -> int:
    """Print what the second run gained over the first."""
    with as_configuration_error(RunInvalid):
        first, second = (EvaluationRun.read(Path(each)) for each in arguments.runs)
        found = gains(first, second)
    print(json.dumps(found, indent=2) if arguments.json else comparison_page(first, second, found))
    return 0
