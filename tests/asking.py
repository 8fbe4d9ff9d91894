"""Clients of a running stack who keep asking, and what became of their questions."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Asked:
    """Seconds of each reply; texts of what failed."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@contextmanager
def asking(
    root: str, prompts: Sequence[str], clients: int = 2, pause: float = 0.0, **more: Any
) -> Iterator[Asked]:
    """So many clients put the questions to `root` again and again while the block runs, each with a
    pause in seconds after its reply. `more` are fields of the request."""
    asked, over = Asked(), threading.Event()
    questions = itertools.cycle(prompts)

    def client() -> None:
        with httpx.Client(base_url=f"{root}/v1", timeout=300) as http:
            while not over.is_set():
                messages = [{"role": "user", "content": next(questions)}]
                started = time.monotonic()
                try:
                    body = {"model": "ratchet", "messages": messages, **more}
                    http.post("/chat/completions", json=body).raise_for_status()
                except httpx.HTTPError as error:
                    asked.failures.append(f"{type(error).__name__}: {error}")
                    over.wait(0.2)
                    continue
                asked.seconds.append(time.monotonic() - started)
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
