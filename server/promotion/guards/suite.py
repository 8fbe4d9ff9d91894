"""The guard suite: small tasks of our own that any assistant should do, and prompts for prose.

`suite.jsonl` has a JSON object a line with `id`, `area`, `question`, and but for prose `answer` and
the answer `kind` that reads it. Of a `pattern` any match is right, `answer` being an example.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from rewards.answer_choice import AnswerChoice
from rewards.answers.kinds import AnswerKinds
from rewards.rollouts import Rollout

PROSE = "prose"
"""The area without answers: only the likelihood of base's own replies counts there."""
_FILE = Path(__file__).with_name("suite.jsonl")


@dataclass(frozen=True, slots=True)
class GuardItem:
    """One task. Of prose, `answer` is None."""

    id: str
    area: str
    question: str
    answer: str | None
    choice: AnswerChoice

    @property
    def messages(self) -> Sequence[dict[str, Any]]:
        """The prompt."""
        return [{"role": "user", "content": self.question}]

    def right(self, kinds: AnswerKinds, rollout: Rollout) -> bool:
        """Whether a rollout does the task. May wait for the judge of mathematics."""
        kind = kinds.of(self.choice)
        found = kind.read(rollout)
        if found is None or self.answer is None:
            return False
        return self.choice.kind == "pattern" or kind.same(found, self.answer)


def guard_suite() -> list[GuardItem]:
    """All items in the order of the file."""
    return [_item(orjson.loads(line)) for line in _FILE.read_bytes().splitlines()]


def _item(row: dict[str, Any]) -> GuardItem:
    answer: Any = row.get("answer")
    if answer is not None and not isinstance(answer, str):
        answer = orjson.dumps(answer).decode()
    choice = AnswerChoice.from_json(row.get("kind", "text"))
    return GuardItem(row["id"], row["area"], row["question"], answer, choice)
