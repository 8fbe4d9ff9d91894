"""A steady load whose replies show which adapter wrote them."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import aiohttp

from evals.arithmetic.questions import Question

ROLLOUTS = 8
_REPEATS = 8
_BACK_OFF = 0.1
_TOKENS = 32


def mark_of(version: int) -> str:
    """The digit that an adapter of this version repeats; neighbours differ."""
    return str(version % 9 + 1)


def text_of(mark: str) -> str:
    """A whole answer of the adapter with that mark: 19 tokens, each with the mark."""
    return f"{' '.join(mark * _REPEATS)} \\boxed{{{mark}}}"


def marks_in(text: str) -> frozenset[str]:
    """The adapters that wrote an answer: one if a single version did; `?` for any other text."""
    marks = frozenset(re.findall(r"\d", text))
    return marks if all(part in _OURS for part in re.split(r"\d", text)) and marks else _OTHER


_OURS, _OTHER = {"", " ", " \\boxed{", "}"}, frozenset("?")


@dataclass(frozen=True, slots=True)
class Reply:
    """One request's end. `version` is the one named; `marks` has one set for each rollout."""

    sent: float
    received: float
    version: int | None
    marks: Sequence[frozenset[str]]

    @property
    def seconds(self) -> float:
        """From sending to the whole reply."""
        return self.received - self.sent

    @property
    def failed(self) -> bool:
        """Not a 200."""
        return self.version is None

    @property
    def mixed_answer(self) -> bool:
        """Some rollout was written by more than one version."""
        return any(len(marks) > 1 for marks in self.marks)

    @property
    def mixed_rollouts(self) -> bool:
        """Rollouts of one version each, but not all of the same."""
        return not self.mixed_answer and len(set(self.marks)) > 1

    @property
    def misnamed(self) -> bool:
        """All of one version, but not of the one that the reply names."""
        if self.version is None or self.mixed_answer or self.mixed_rollouts:
            return False
        return set(self.marks) != {frozenset(mark_of(self.version))}


class Clients:
    """Closed-loop clients of one server: each asks again as soon as it has its reply."""

    def __init__(self, url: str, model: str, asked: Sequence[Question], count: int) -> None:
        self._url, self._model, self._count = url, model, count
        self._questions: Iterator[Question] = itertools.cycle(asked)
        self._stopping = False
        self.replies: list[Reply] = []

    async def run(self) -> None:
        """Ask until `stop`; returns once the last reply is in."""
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(self._url, timeout=timeout) as session:
            await asyncio.gather(*(self._client(session) for _ in range(self._count)))

    def stop(self) -> None:
        """No further questions."""
        self._stopping = True

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self._stopping:
            reply = await self._ask(session, next(self._questions))
            self.replies.append(reply)
            if reply.failed:
                await asyncio.sleep(_BACK_OFF)

    async def _ask(self, session: aiohttp.ClientSession, question: Question) -> Reply:
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": question.text}],
            "n": ROLLOUTS,
            "max_tokens": _TOKENS,
            "ratchet": {"rollouts": ROLLOUTS},
        }
        sent = time.perf_counter()
        async with session.post("/v1/chat/completions", json=body) as response:
            if response.status != 200:
                await response.read()
                return Reply(sent, time.perf_counter(), None, [])
            parsed = await response.json()
        marks = [marks_in(choice["message"]["content"]) for choice in parsed["choices"]]
        return Reply(sent, time.perf_counter(), parsed["ratchet"]["policy_version"], marks)
