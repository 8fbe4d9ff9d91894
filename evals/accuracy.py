"""avg@n, maj@n and pass@n of a model on labelled questions, over any OpenAI-compatible endpoint.

The labels stay here: what goes over the wire is the question's text.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openai import AsyncOpenAI

from evals.arithmetic.questions import Question
from rewards.equality import Equality
from rewards.extraction import extract_answer
from rewards.metrics import avg_at_n, correctness, maj_at_n


@dataclass(frozen=True, slots=True)
class Protocol:
    """How to sample: the papers' evaluation is n 16, T 0.6, top_p 0.95."""

    n: int = 16
    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 64
    concurrency: int = 8


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Per-question scores, in the order of the questions."""

    avg: Sequence[float]
    maj: Sequence[float]
    passed: Sequence[float]

    def summary(self) -> dict[str, float]:
        """Means over questions."""
        return {
            "avg": sum(self.avg) / len(self.avg),
            "maj": sum(self.maj) / len(self.maj),
            "pass": sum(self.passed) / len(self.passed),
        }


async def measure(
    client: AsyncOpenAI,
    model: str,
    questions: Sequence[Question],
    protocol: Protocol,
    equality: Equality,
    on_question: Callable[[], object] = lambda: None,
) -> Accuracy:
    """Sample n plain rollouts a question (no vote, nothing recorded) and grade them here."""
    slots = asyncio.Semaphore(protocol.concurrency)

    async def answers(question: Question) -> list[str | None]:
        async with slots:
            completion = await client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": question.text}],
                n=protocol.n,
                temperature=protocol.temperature,
                top_p=protocol.top_p,
                max_tokens=protocol.max_tokens,
                extra_body={"ratchet": {"strategy": "single", "train": False}},
            )
        on_question()
        return [
            extract_answer(choice.message.content or "") if choice.finish_reason == "stop" else None
            for choice in completion.choices
        ]

    rows = await asyncio.gather(*map(answers, questions))
    ballots = [equality.ballot(row) for row in rows]
    grades = [
        correctness(equality, ballot, question.answer)
        for ballot, question in zip(ballots, questions, strict=True)
    ]
    return Accuracy(
        [avg_at_n(grade) for grade in grades],
        [maj_at_n(ballot, grade) for ballot, grade in zip(ballots, grades, strict=True)],
        [float(any(grade)) for grade in grades],
    )
