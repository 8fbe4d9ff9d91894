"""What the votes on one question were, each time that it was asked: TTRL-Guard's history."""

import hashlib
import random
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rewards.answers.kind import AnswerKind
from rewards.answers.tally import Tally
from rewards.votes import take_vote

LOOKS = 64
"""Looks at a question that are remembered; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class Look:
    """One vote on a question: whether its winner differs from the one before, the winner's `share`
    of all rollouts, and a `chance` from [0, 1) for what is to happen to some looks only."""

    flipped: bool
    share: float
    chance: float = 0.0


def noise(key: str | bytes, count: int) -> list[float]:
    """`count` numbers from [0, 1) that depend on nothing but the key."""
    source = random.Random(key)
    return [source.random() for _ in range(count)]


@dataclass(slots=True)
class _Seen:
    group: str
    answer: str
    looks: deque[Look] = field(default_factory=lambda: deque[Look](maxlen=LOOKS))


class QuestionHistory:
    """Remembers the looks at the `questions` seen last, in memory alone. For one thread."""

    def __init__(self, questions: int = 10_000) -> None:
        self._questions = questions
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()

    def look(self, question: str, group: str, kind: AnswerKind, tally: Tally) -> Sequence[Look]:
        """All looks at a question, the oldest first, with the vote of this group as the last. A
        vote that nobody won is no look, nor is the group of the last look when it comes again."""
        key = hashlib.sha256(question.encode(errors="surrogatepass")).digest()
        seen, vote = self._seen.get(key), take_vote(tally)
        if vote.answer is None or (seen is not None and seen.group == group):
            return [] if seen is None else list(seen.looks)
        flipped = seen is not None and not kind.same(seen.answer, vote.answer)
        if seen is None:
            seen = self._seen[key] = _Seen(group, vote.answer)
        seen.group, seen.answer = group, vote.answer
        seen.looks.append(Look(flipped, vote.agreement, noise(group, 1)[0]))
        self._seen.move_to_end(key)
        if len(self._seen) > self._questions:
            self._seen.popitem(last=False)
        return list(seen.looks)
