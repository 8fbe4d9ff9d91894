"""Answer kind `short`: a whole reply of a few words."""

from rewards.answers.kind import may_vote
from rewards.answers.math_answers import Equality
from rewards.answers.reading.reasoning import without_reasoning
from rewards.answers.reading.replies import short_reply
from rewards.answers.reading.statements import marked
from rewards.rollouts import Rollout


class ShortAnswers(Equality):
    """What a text marks as its answer, or else a reply of a few words: the same by tidied text, as
    numbers, dates, letters where they are some. Expressions differ unless written alike."""

    name = "short"

    def __init__(self) -> None:
        super().__init__()

    def read(self, rollout: Rollout) -> str | None:
        """The answer of a rollout, None if there is none."""
        if not may_vote(rollout):
            return None
        reply = without_reasoning(rollout.text)
        if reply is None:
            return None
        statement = marked(rollout.text)
        return statement.answer if statement.found else short_reply(reply)
