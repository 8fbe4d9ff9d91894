"""`ratchet adapt-on`: the papers' offline setting, an unlabelled test set learnt from in epochs; or
measured on other questions."""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.adaptation_report import write_report
from evals.evaluation import EndpointFailed
from evals.failures import ungrouped
from evals.items import in_epochs
from evals.presets import PRESETS, answer_choice_for, epochs_for
from ratchet.commands.adaptation import Adaptation, Plan, fresh_state
from ratchet.commands.evaluation import items_from, protocol_from
from ratchet.errors import ConfigurationError, as_configuration_error
from ratchet.local.stack import Stack
from ratchet.recipe import with_all_cores, with_few_questions, with_recipe
from ratchet.settings import StackSettings, flags_of, read
from rewards.answers.kinds import AnswerKinds
from rewards.answers.math_judge import MathJudge


async def adapt_on(arguments: argparse.Namespace) -> int:
    """Adapt a stack of its own to the data set; 0 if the gain in avg@n is significant."""
    started = time.monotonic()
    items = items_from(arguments)
    test = items_from(arguments, arguments.held_out) if arguments.held_out else items
    out = Path(arguments.out or f"runs/adapt-on/{Path(arguments.dataset).stem}")
    flags: dict[str, Any] = {**fresh_state(Path(".ratchet/adapt-on")), **flags_of(arguments)}
    settings = read(StackSettings, flags)
    if arguments.dataset in PRESETS and "answer" not in settings.model_fields_set:
        usual = json.dumps(answer_choice_for(arguments.dataset).to_json())
        settings = settings.model_copy(update={"answer": usual})
    settings = with_few_questions(with_all_cores(with_recipe(settings)), len(items))
    protocol = protocol_from(arguments, settings.max_model_len // 2)
    epochs = arguments.epochs or epochs_for(arguments.dataset, len(items))
    if protocol.max_tokens >= settings.max_model_len:
        raise ConfigurationError(
            f"--max-tokens {protocol.max_tokens} leaves no room for a prompt: max_model_len is "
            f"{settings.max_model_len}"
        )
    out.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        asked=list(in_epochs(items, settings.seed, epochs)),
        test=test,
        protocol=protocol,
        quick=replace(protocol, n=4, concurrency=2, per_request=0, seconds=600.0),
        quick_questions=len(test),
        every=arguments.every,
        minutes=arguments.minutes,
    )
    with (
        MathJudge(settings.equality_deadline) as judge,
        as_configuration_error(EndpointFailed),
        ungrouped(EndpointFailed),
    ):
        kind = AnswerKinds(judge).of(settings.answer_choice)  # as the server that is asked has it
        result = await Adaptation(Stack(settings), plan, kind, out).run()
    result |= {"dataset": arguments.dataset, "held_out": arguments.held_out, "epochs": epochs}
    result["seconds"] = round(time.monotonic() - started, 1)
    title = f"{arguments.dataset}, {epochs} epochs without labels: reward `{result['reward']}`"
    print(write_report(out, title, result, protocol.n))
    return int(result["gain_ci95"][0] <= 0)
