"""`ratchet ask`: a data set's questions put to a running server, as its users would."""

import argparse
import os
import sys
import time

from openai import AsyncOpenAI
from tqdm import tqdm

from evals.evaluation import EndpointFailed
from evals.items import in_epochs
from evals.presets import ARITHMETIC, arithmetic_stream
from evals.traffic import PacedClient
from ratchet.commands.evaluation import items_from
from ratchet.errors import ConfigurationError, as_configuration_error

_ARITHMETIC_QUESTIONS = 4000


async def ask(arguments: argparse.Namespace) -> int:
    """Ask all questions, or until the minutes are over; 1 if any request failed. Each epoch has
    another order."""
    if arguments.rate <= 0:
        raise ConfigurationError("--rate must be above 0")
    if arguments.dataset == ARITHMETIC:
        items = arithmetic_stream(_ARITHMETIC_QUESTIONS)[: arguments.limit]
    else:
        items = items_from(arguments)
    items = list(in_epochs(items, 0, arguments.epochs))
    key = os.environ.get("OPENAI_API_KEY") or "none"
    started, quiet = time.monotonic(), not sys.stderr.isatty()
    async with AsyncOpenAI(base_url=arguments.url, api_key=key, max_retries=0) as openai:
        client = PacedClient(openai, arguments.model, arguments.max_tokens, arguments.feedback)
        with tqdm(total=len(items), unit="question", disable=quiet) as bar:

            def progress(sent: int) -> None:
                bar.set_postfix_str(client.summary, refresh=False)
                bar.update(1)
                if quiet and sent % 100 == 0:
                    print(f"{sent} of {len(items)} asked, {client.summary}", flush=True)

            with as_configuration_error(EndpointFailed):
                await client.run(
                    items, rate=arguments.rate, minutes=arguments.minutes, progress=progress
                )
    print(f"{client.asked} asked in {time.monotonic() - started:.0f} s, {client.summary}")
    return int(client.failed > 0)
