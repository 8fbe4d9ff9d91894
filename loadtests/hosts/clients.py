"""Ordinary clients that keep asking: `python -m loadtests.hosts.clients --url URL --out FILE`.

OpenAI's own library, with the retries that it makes by itself. A line of JSON for each question:
when it was asked, how long it took, how often it was tried again, and what came back.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from pathlib import Path
from typing import TextIO

from openai import APIError, AsyncOpenAI

from evals.arithmetic.questions import questions

_QUESTIONS, _SECONDS = 3000, 90.0


class Clients:
    """So many clients of one address; each asks, waits `pause` seconds, and asks again."""

    def __init__(self, url: str, out: TextIO, pause: float, rollouts: int) -> None:
        self._client = AsyncOpenAI(base_url=url, api_key="none", timeout=_SECONDS)
        self._out, self._pause, self._rollouts = out, pause, rollouts
        self._asked = itertools.cycle(questions(seed=21, count=_QUESTIONS))

    async def ask_for_ever(self, client: int) -> None:
        """One client, by its number."""
        while True:
            await self._ask(client, next(self._asked).text)
            await asyncio.sleep(self._pause)

    async def _ask(self, client: int, text: str) -> None:
        at, began = time.time(), time.monotonic()
        row: dict[str, float | int | str] = {"at": at, "client": client}
        try:
            raw = await self._client.chat.completions.with_raw_response.create(
                model="ratchet",
                messages=[{"role": "user", "content": text}],
                max_tokens=32,
                extra_body={"ratchet": {"rollouts": self._rollouts}},
            )
            row["tries"] = raw.retries_taken
            row["version"] = json.loads(raw.text)["ratchet"]["policy_version"]
        except APIError as error:
            row["failed"] = f"{type(error).__name__} {getattr(error, 'status_code', '')}".strip()
        row["seconds"] = time.monotonic() - began
        self._out.write(json.dumps(row) + "\n")
        self._out.flush()


async def _run(url: str, out: Path, clients: int, pause: float, rollouts: int) -> None:
    with out.open("a") as lines:
        asking = Clients(url, lines, pause, rollouts)
        await asyncio.gather(*(asking.ask_for_ever(number) for number in range(clients)))


def main() -> None:
    """Ask until stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--pause", type=float, default=0.5)
    parser.add_argument("--rollouts", type=int, default=4)
    chosen = parser.parse_args()
    asyncio.run(_run(chosen.url, chosen.out, chosen.clients, chosen.pause, chosen.rollouts))


if __name__ == "__main__":
    main()
