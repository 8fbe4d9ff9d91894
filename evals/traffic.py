"""Questions put to a running Ratchet server as its users would, and what its replies show."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openai import APIError, APIStatusError, AsyncOpenAI
from openai.types.chat import ChatCompletion

from evals.evaluation import EndpointFailed
from evals.failures import ungrouped
from evals.items import Item
from rewards.answers.kind import AnswerKind

_RECENT = 64
_CONCURRENCY = 8
_MOST_FAILURES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
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
class TrafficLog:
    """All replies so far; `first_answers` has the time of each version's first one."""

    replies: list[Reply] = field(default_factory=list[Reply])
    failed: int = 0
    first_answers: dict[int, float] = field(default_factory=dict[int, float])

    @property
    def version(self) -> int:
        """Newest version that has answered."""
        return max(self.first_answers, default=0)

    def recent(self, name: str, count: int = _RECENT) -> float:
        """Mean of a field over the last replies."""
        tail = self.replies[-count:]
        return sum(float(getattr(reply, name)) for reply in tail) / len(tail) if tail else 0.0


@dataclass(frozen=True, slots=True)
class GradingClient:
    """Asks as any client would, and grades the replies: the labels stay on this side."""

    client: AsyncOpenAI
    model: str
    kind: AnswerKind
    max_tokens: int = 64

    async def run(
        self,
        items: Iterable[Item],
        log: TrafficLog,
        *,
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
                await self.ask(item, log)

        await asyncio.gather(*(ask_in_turn() for _ in range(concurrency)))

    async def ask(self, item: Item, log: TrafficLog) -> None:
        """One ordinary request; a failure is counted, not raised."""
        try:
            completion = await _complete(self.client, self.model, item, self.max_tokens)
        except APIError:
            log.failed += 1
            return
        extension = (completion.model_extra or {})["ratchet"]
        now, version = time.time(), int(extension["policy_version"])
        log.first_answers.setdefault(version, now)
        if extension["answer"] is not None:
            log.replies.append(await asyncio.to_thread(self._grade, item, extension, now))

    def _grade(self, item: Item, extension: Mapping[str, Any], now: float) -> Reply:
        distribution: Mapping[str, float] = extension["distribution"]
        correct = self.kind.same(extension["answer"], item.answer)
        wrong = 0.0
        if not correct:  # wrong rewards: those for the label, and none for the truth
            wrong = float(extension["agreement"]) + sum(
                share for text, share in distribution.items() if self.kind.same(text, item.answer)
            )
        return Reply(
            at=now,
            version=int(extension["policy_version"]),
            agreement=float(extension["agreement"]),
            correct=correct,
            reward_accuracy=1.0 - wrong,
        )


class PacedClient:
    """Asks at a steady rate; with `feedback`, sends each question's label once it is answered."""

    def __init__(self, client: AsyncOpenAI, model: str, max_tokens: int, feedback: bool) -> None:
        self._client, self._model = client, model
        self._max_tokens, self._feedback = max_tokens, feedback
        self._agreements: deque[float] = deque(maxlen=_RECENT)
        self.asked, self.failed, self.version = 0, 0, 0

    @property
    def summary(self) -> str:
        """Version, agreement and failures in a line."""
        mean = sum(self._agreements) / len(self._agreements) if self._agreements else 0.0
        return f"v{self.version}, agreement {mean:.0%}, {self.failed} failed"

    async def run(
        self,
        items: Sequence[Item],
        *,
        rate: float,
        minutes: float | None,
        progress: Callable[[int], None],
    ) -> None:
        """Ask all items, `rate` a second and eight at a time at most, for so many minutes at most.
        Calls `progress` with how many have been sent. Raises EndpointFailed as `ask` does."""
        slots, sent = asyncio.Semaphore(_CONCURRENCY), 0

        async def ask(item: Item) -> None:
            try:
                await self.ask(item)
            finally:
                slots.release()

        with ungrouped(EndpointFailed):
            async with asyncio.TaskGroup() as tasks:
                async for item in paced(items, rate, minutes):
                    await slots.acquire()
                    tasks.create_task(ask(item))
                    sent += 1
                    progress(sent)

    async def ask(self, item: Item) -> None:
        """One question; a failure is counted. Raises EndpointFailed where asking again is of no
        use: the request is refused, or nothing has ever answered."""
        self.asked += 1
        try:
            reply = await _complete(self._client, self._model, item, self._max_tokens)
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
                raise EndpointFailed(f"--url, --model: {error.message}") from None
            self.failed += 1
        except APIError:
            self.failed += 1
        if self.failed >= _MOST_FAILURES and not self._agreements:
            raise EndpointFailed(f"--url: nothing answers at {self._client.base_url}")


async def paced(items: Sequence[Item], rate: float, minutes: float | None) -> AsyncIterator[Item]:
    """The items, `rate` a second at most, for so many minutes at most."""
    started = time.monotonic()
    for number, item in enumerate(items):
        await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
        if minutes is not None and time.monotonic() - started > 60 * minutes:
            return
        yield item


async def _complete(client: AsyncOpenAI, model: str, item: Item, max_tokens: int) -> ChatCompletion:
    return await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": item.prompt}],
        max_tokens=max_tokens,
    )
