"""A stream of unlabelled questions to a Ratchet server, and what its replies show."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from openai import APIError, AsyncOpenAI

from evals.arithmetic.questions import Question
from rewards.canonical import canonical


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


async def stream_questions(
    client: AsyncOpenAI,
    model: str,
    questions: Sequence[Question],
    stream: Stream,
    done: Callable[[], bool],
    ready: Callable[[], Awaitable[None]],
    concurrency: int = 4,
) -> None:
    """Ask until `done` or out of questions. `ready` may hold the next question back."""
    remaining = itertools.chain(questions)

    async def ask_in_turn() -> None:
        for question in remaining:
            if done():
                return
            await ready()
            await ask(client, model, question, stream)

    await asyncio.gather(*(ask_in_turn() for _ in range(concurrency)))


async def ask(client: AsyncOpenAI, model: str, question: Question, stream: Stream) -> None:
    """One ordinary request; a failure is counted, not raised."""
    try:
        completion = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": question.text}], max_tokens=64
        )
    except APIError:
        stream.failed += 1
        return
    extension = (completion.model_extra or {})["ratchet"]
    now, version = time.time(), int(extension["policy_version"])
    stream.first_answers.setdefault(version, now)
    if extension["answer"] is None:
        return
    distribution: dict[str, float] = extension["distribution"]
    label, truth = canonical(extension["answer"]), canonical(question.answer)
    correct = label == truth
    wrong = 0.0 if correct else distribution[label] + distribution.get(truth, 0.0)
    stream.replies.append(Reply(now, version, float(extension["agreement"]), correct, 1.0 - wrong))
