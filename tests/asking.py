"""Clients of a running stack who keep asking, and what became of their questions."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from evals.items import Item


@dataclass
class Asked:
    """Seconds of each reply and the version that gave it; texts of what failed."""

    seconds: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


@contextmanager
def asking(
    root: str, items: Sequence[Item], clients: int = 2, pause: float = 0.0, **more: Any
) -> Iterator[Asked]:
    """So many clients put the questions to `root` again and again while the block runs, each with a
    pause after its reply. `more` are fields of the request."""
    asked, over = Asked(), threading.Event()
    questions = itertools.cycle(items)

    def client() -> None:
        with httpx.Client(base_url=f"{root}/v1", timeout=300) as http:
            while not over.is_set():
                messages = [{"role": "user", "content": next(questions).prompt}]
                body = {"model": "ratchet", "messages": messages, "max_tokens": 24, **more}
                started = time.monotonic()
                try:
                    reply = http.post("/chat/completions", json=body)
                    reply.raise_for_status()
                except httpx.HTTPError as error:
                    asked.failures.append(f"{type(error).__name__}: {error}")
                    over.wait(0.2)
                    continue
                asked.seconds.append(time.monotonic() - started)
                asked.versions.append(reply.json()["ratchet"]["policy_version"])
                over.wait(pause)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        over.set()
        for thread in threads:
            thread.join()
