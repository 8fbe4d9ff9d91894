"""Answer kind `pattern`: a client's regular expression, matched in linear time."""

import time
from collections.abc import Sequence
from typing import Any, cast

import re2

from rewards.answer_choice import MAX_PATTERN_BYTES, ChoiceInvalid
from rewards.answers.equality.layout import plain_characters
from rewards.answers.equality.words import tidied
from rewards.answers.kind import may_vote
from rewards.answers.reading.reasoning import without_reasoning
from rewards.answers.reading.sentences import MOST_CHARS
from rewards.answers.tally import Tally, tally_by
from rewards.rollouts import Rollout

_MAX_PROGRAM_BYTES = 1 << 20
_MATCHING_SECONDS = 0.05
"""Of a thread's own time for the matches in a reply. One search takes time in proportion to the
reply, and there may be as many as the reply has characters."""
_REFUSED = cast("tuple[type[Exception], ...]", (re2.error, UnicodeError))


class PatternAnswers:
    """What the pattern's one group matches last in the reply; the same by tidied text. A reply in
    which it takes too long to find all matches has no answer. Raises ChoiceInvalid for a pattern
    that RE2 does not take, or that has no group or several."""

    name = "pattern"

    def __init__(self, pattern: str | None) -> None:
        if not pattern:
            raise ChoiceInvalid("pattern", "is missing")
        if len(pattern.encode(errors="replace")) > MAX_PATTERN_BYTES:
            raise ChoiceInvalid("pattern", f"must be at most {MAX_PATTERN_BYTES} bytes")
        options: Any = re2.Options()
        options.max_mem, options.log_errors = _MAX_PROGRAM_BYTES, False
        try:
            self._pattern: Any = re2.compile(pattern, options)
        except _REFUSED as error:
            raise ChoiceInvalid("pattern", f"does not compile: {_reason(error)}") from None
        if self._pattern.groups != 1:
            raise ChoiceInvalid("pattern", f"must have one group, not {self._pattern.groups}")

    def read(self, rollout: Rollout) -> str | None:
        """The answer of a rollout, None if there is none."""
        reply = without_reasoning(rollout.text) if may_vote(rollout) else None
        if reply is None:
            return None
        text = reply.encode(errors="replace").decode()
        found: str | None = None
        until = time.thread_time() + _MATCHING_SECONDS
        for match in self._pattern.finditer(text):
            found = match[1] or found
            if time.thread_time() > until:
                return None
        found = (found or "").strip()
        return found if 0 < len(found) <= MOST_CHARS and _key(found) else None

    def same(self, first: str, second: str) -> bool:
        """Whether two answers have the same tidied text."""
        return _key(first) == _key(second)

    def closeness(self, first: str, second: str) -> float:
        """1 for the same, else 0."""
        return float(self.same(first, second))

    def tally(self, answers: Sequence[str | None]) -> Tally:
        """Cluster M answers, whatever their order."""
        return tally_by(answers, _key)

    def instant(self, answers: Sequence[str | None]) -> bool:
        """Nothing waits."""
        return True


def _key(answer: str) -> str:
    return tidied(plain_characters(answer))


def _reason(error: Exception) -> str:
    reason: Any = error.args[0] if error.args else "not UTF-8"
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
