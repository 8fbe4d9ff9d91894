"""`ratchet ask`: a data set's questions put to a running server, as its users would."""

import argparse
import asyncio
import itertools
import os
import random
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from openai import APIError, APIStatusError, AsyncOpenAI
from tqdm import tqdm

from evals.arithmetic.questions import as_items, stream_and_held_out
from evals.items import Item
from evals.presets import ARITHMETIC
from ratchet.commands.evaluation import items_from
from ratchet.errors import ConfigurationError

_ARITHMETIC_QUESTIONS = 4000
_SHOWN = 64
_AT_ONCE = 8
_MOST_FAILURES = 20


class Asking:
    """Asks one question after the other, at a steady rate, and keeps the labels for feedback."""

    def __init__(self, client: AsyncOpenAI, model: str, max_tokens: int, feedback: bool) -> None:
        self._client, self._model = client, model
        self._max_tokens, self._feedback = max_tokens, feedback
        self._agreements: deque[float] = deque(maxlen=_SHOWN)
        self.asked, self.failed, self.version = 0, 0, 0

    @property
    def summary(self) -> str:
        """How it goes."""
        mean = sum(self._agreements) / len(self._agreements) if self._agreements else 0.0
        return f"v{self.version}, agreement {mean:.0%}, {self.failed} failed"

    async def ask(self, item: Item) -> None:
        """One question; a failure is counted. Raises ConfigurationError on one that would only
        come again."""
        self.asked += 1
        try:
            reply = await self._client.chat.completions.create(
                model=self._model,
                messages=[{"role": "user", "content": item.prompt}],
                max_tokens=self._max_tokens,
            )
            vote: dict[str, Any] = (reply.model_extra or {}).get("ratchet") or {}
            if vote.get("answer") is not None:
                self._agreements.append(vote["agreement"])
                self.version = vote["policy_version"]
                if self._feedback:
                    await self._client.post(
                        "/feedback",
                        body={"completion_id": reply.id, "label": item.answer},
                        cast_to=object,
                    )
        except APIStatusError as error:
            if error.status_code in (400, 401, 404):
                raise ConfigurationError(f"--url, --model: {error.message}") from None
            self.failed += 1
        except APIError:
            self.failed += 1
        if self.failed >= _MOST_FAILURES and not self._agreements:
            raise ConfigurationError(f"--url: nothing answers at {self._client.base_url}")


async def ask(arguments: argparse.Namespace) -> int:
    """Ask until all is asked, or until the minutes are over; 1 if any request failed."""
    if arguments.rate <= 0:
        raise ConfigurationError("--rate must be above 0")
    items = _questions(arguments)
    key = os.environ.get("OPENAI_API_KEY") or "none"
    started = time.monotonic()
    async with AsyncOpenAI(base_url=arguments.url, api_key=key, max_retries=0) as client:
        asking = Asking(client, arguments.model, arguments.max_tokens, arguments.feedback)
        quiet = not sys.stderr.isatty()
        with tqdm(total=len(items), unit="question", disable=quiet) as bar:
            under_way: set[asyncio.Task[None]] = set()
            try:
                async for item in paced(items, arguments.rate, arguments.minutes):
                    under_way.add(asyncio.create_task(asking.ask(item)))
                    full = len(under_way) >= _AT_ONCE
                    done, under_way = await asyncio.wait(
                        under_way,
                        timeout=None if full else 0,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    for task in done:
                        task.result()
                    bar.set_postfix_str(asking.summary, refresh=False)
                    bar.update(1)
                    if quiet and asking.asked % 100 == 0:
                        print(f"{asking.asked} of {len(items)} asked, {asking.summary}", flush=True)
                await asyncio.gather(*under_way)
            finally:
                for task in under_way:
                    task.cancel()
    print(f"{asking.asked} asked in {time.monotonic() - started:.0f} s, {asking.summary}")
    return int(asking.failed > 0)


def _questions(arguments: argparse.Namespace) -> Sequence[Item]:
    """All that is to be asked, each epoch in another order."""
    if arguments.dataset == ARITHMETIC:  # what evaluations hold out stays unasked
        items = as_items(stream_and_held_out(0, _ARITHMETIC_QUESTIONS, 0)[0])[: arguments.limit]
    else:
        items = items_from(arguments)
    rng = random.Random(0)
    epochs = (rng.sample(items, len(items)) for _ in range(arguments.epochs))
    return list(itertools.chain.from_iterable(epochs))


async def paced(items: Sequence[Item], rate: float, minutes: float | None) -> AsyncIterator[Item]:
    """The items, `rate` a second at most, for so many minutes at most."""
    started = time.monotonic()
    for number, item in enumerate(items):
        await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
        if minutes is not None and time.monotonic() - started > 60 * minutes:
            return
        yield item
