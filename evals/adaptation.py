"""A stream of unlabelled questions to a Ratchet server, and what its replies show."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openai import APIError, AsyncOpenAI

from evals.items import Item
from rewards.answers.kind import AnswerKind


@dataclass(frozen=True, slots=True)
class Reply:
    """What one voted reply said, with its correctness as only the client can know it.

    `reward_accuracy`: share of rollouts whose majority reward equals their true reward.
    """

    at: float
    version: int
    agreement: float
    correct: bool
    reward_accuracy: float


@dataclass(slots=True)
class Stream:
    """Everything seen while streaming."""

    replies: list[Reply] = field(default_factory=list[Reply])
    failed: int = 0
    first_answers: dict[int, float] = field(default_factory=dict[int, float])

    @property
    def version(self) -> int:
        """Newest version that has answered."""
        return max(self.first_answers, default=0)

    def recent(self, name: str, count: int = 64) -> float:
        """Mean of a field over the last replies."""
        tail = self.replies[-count:]
        return sum(float(getattr(reply, name)) for reply in tail) / len(tail) if tail else 0.0


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks a model of a Ratchet server as any client would, and keeps the labels to itself."""

    client: AsyncOpenAI
    model: str
    kind: AnswerKind
    max_tokens: int = 64

    async def stream(
        self,
        items: Iterable[Item],
        stream: Stream,
        done: Callable[[], bool],
        ready: Callable[[], Awaitable[None]],
        concurrency: int = 4,
    ) -> None:
        """Ask until `done` or out of questions. `ready` may hold the next question back."""
        remaining = iter(items)

        async def ask_in_turn() -> None:
            for item in remaining:
                if done():
                    return
                await ready()
                await self.ask(item, stream)

        await asyncio.gather(*(ask_in_turn() for _ in range(concurrency)))

    async def ask(self, item: Item, stream: Stream) -> None:
        """One ordinary request; a failure is counted, not raised."""
        try:
            completion = await self.client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": item.prompt}],
                max_tokens=self.max_tokens,
            )
        except APIError:
            stream.failed += 1
            return
        extension = (completion.model_extra or {})["ratchet"]
        now, version = time.time(), int(extension["policy_version"])
        stream.first_answers.setdefault(version, now)
        if extension["answer"] is not None:
            reply = await asyncio.to_thread(self._judged, item, extension, now)
            stream.replies.append(reply)

    def _judged(self, item: Item, extension: Mapping[str, Any], now: float) -> Reply:
        distribution: Mapping[str, float] = extension["distribution"]
        correct = self.kind.same(extension["answer"], item.answer)
        wrong = 0.0
        if not correct:  # wrong rewards: those for the label, and none for the truth
            wrong = float(extension["agreement"]) + sum(
                share for text, share in distribution.items() if self.kind.same(text, item.answer)
            )
        version = int(extension["policy_version"])
        return Reply(now, version, float(extension["agreement"]), correct, 1.0 - wrong)
