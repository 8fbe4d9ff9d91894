"""The tasks: questions of our own, and data sets that are given as files."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.arithmetic.questions import Question
from evals.items import Item, Layout, read_file
from evals.smollm2.questions import FAMILIES, WORDED, stream_and_held_out
from rewards.answer_choice import AnswerChoice

_NUMBER = AnswerChoice("math", last_number=True)
_JUST_THE_NUMBER = " Answer with just the number."
_SENTIMENT = (
    "Is the sentiment of this review positive or negative? Reply with one word.\n\nReview: "
)


@dataclass(frozen=True, slots=True)
class Task:
    """Questions of one kind, and how replies to them are read. `column` is where a file has them,
    `before` and `after` what is asked around them; without a `column` they are of our own making.
    """

    name: str
    choice: AnswerChoice
    column: str = ""
    before: str = ""
    after: str = ""

    def halves(
        self, seed: int, size: int, file: Path | None
    ) -> tuple[list[Question], list[Question]]:
        """So many questions to learn from and so many others to score on, drawn by `seed`. Raises
        DatasetInvalid naming the row that cannot be used, and ValueError without the file."""
        if not self.column:
            families = WORDED if self.name == "word problems" else FAMILIES[:2]
            learnt, scored = stream_and_held_out(seed, size, size, families)
        elif file is None:
            raise ValueError(f"{self.name} wants its data: --source {self.name}=FILE")
        else:
            items = read_file(file, Layout(prompt=self.column))
            drawn = random.Random(f"{self.name}:{seed}").sample(items, min(len(items), 2 * size))
            learnt, scored = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
        return self._questions(learnt), self._questions(scored)

    def _questions(self, items: Sequence[Item]) -> list[Question]:
        return [
            Question(item.id, self.before + item.prompt + self.after, item.answer, 0, self.name)
            for item in items
        ]


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task("products", _NUMBER),
        Task("word problems", _NUMBER),
        Task("svamp", _NUMBER, "question", after=_JUST_THE_NUMBER),
        Task(
            "reviews", AnswerChoice("choice", options=("positive", "negative")), "review",
            before=_SENTIMENT,
        ),
    )
}  # fmt: skip
