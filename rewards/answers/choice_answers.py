"""Answer kind `choice`: an option letter, or one of the options that a client gave."""

import re
from collections.abc import Sequence

from rewards.answer_choice import ChoiceInvalid
from rewards.answers.equality.layout import plain_characters, without_layout
from rewards.answers.equality.words import tidied
from rewards.answers.kind import may_vote
from rewards.answers.reading.letters import chosen_letter, stated_letter
from rewards.answers.reading.statements import Statement, marked
from rewards.answers.tally import Tally, tally_by
from rewards.rollouts import Rollout

_DENIED = re.compile(
    r"(?:\b(?:not|no|never|neither|nor|cannot|than|instead\s+of)|n't)(?!\s+(?:only|doubt|question))"
    r"\s+(?:[^\s.,;:!?]+\s+){0,4}[\"'*_`(]*\Z",
    re.IGNORECASE,
)
"""Before an option that is mentioned to be turned down."""
_SPACE = re.compile(r"\s+")


class ChoiceAnswers:
    """Without options, a letter from A to J. With them, the option that is marked, or else the only
    one that the reply mentions; an answer is the option as the client wrote it."""

    name = "choice"

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = _by_key(options)
        self._letters = bool(options) and all(_is_letter(option) for option in options)
        self._mention = _mention(self._options, self._exact(self._options)) if options else None
        self._folded = not self._exact(self._options)

    def read(self, rollout: Rollout) -> str | None:
        """The answer of a rollout, None if there is none."""
        if not may_vote(rollout):
            return None
        statement = marked(rollout.text)
        if self._mention is None or self._letters:
            letter = _letter_of(statement)
            return letter if not self._options or letter is None else self._options.get(letter)
        if statement.answer is not None and (only := self._only(statement.answer)) is not None:
            return only
        if statement.found and statement.answer is None:
            return None
        return self._only(statement.reply)

    def same(self, first: str, second: str) -> bool:
        """Whether two answers are the same option."""
        return self._key(first) == self._key(second)

    def closeness(self, first: str, second: str) -> float:
        """1 for the same, else 0."""
        return float(self.same(first, second))

    def tally(self, answers: Sequence[str | None]) -> Tally:
        """Cluster M answers, whatever their order."""
        return tally_by(answers, self._key)

    def instant(self, answers: Sequence[str | None]) -> bool:
        """Nothing waits."""
        return True

    def _only(self, text: str) -> str | None:
        """The only option mentioned; None if there are several, or it is denied."""
        assert self._mention is not None
        text = _SPACE.sub(" ", plain_characters(text))
        found: set[str] = set()
        for mention in self._mention.finditer(text):
            if _DENIED.search(text, max(0, mention.start() - 40), mention.start()):
                return None
            found.add(mention[0])
        options = {self._named(each) for each in found}
        return options.pop() if len(options) == 1 else None

    def _named(self, mention: str) -> str:
        key = _SPACE.sub(" ", mention)
        for option in self._options.values():
            plain = _plain(option)
            if key == plain or (self._folded and key.casefold() == plain.casefold()):
                return option
        return mention

    def _key(self, answer: str) -> str:
        if not self._options or self._letters:
            letter = stated_letter(answer)
            return letter if letter is not None else tidied(answer)
        key = _key(answer)
        if key in self._options:
            return key
        folded = key.casefold()
        return next((k for k in self._options if self._folded and k.casefold() == folded), key)

    @staticmethod
    def _exact(options: "dict[str, str]") -> bool:
        """Whether options differ in case alone."""
        return len({key.casefold() for key in options}) < len(options)


def _plain(option: str) -> str:
    return _SPACE.sub(" ", without_layout(plain_characters(option)))


def _key(text: str) -> str:
    return tidied(without_layout(plain_characters(text)))


def _by_key(options: Sequence[str]) -> dict[str, str]:
    """Options by their tidied text. Raises ChoiceInvalid if two are equal, or one is empty."""
    found: dict[str, str] = {}
    for option in options:
        key = _key(option)
        if not any(c.isalnum() or ord(c) > 127 for c in key):
            raise ChoiceInvalid("options", f"{option[:40]!r} has no letter or digit")
        if key in found:
            raise ChoiceInvalid("options", f"{found[key][:40]!r} and {option[:40]!r} are the same")
        found[key] = option
    return found


def _mention(options: "dict[str, str]", exact: bool) -> re.Pattern[str]:
    """Finds options as whole words, the longest at each place."""
    names = sorted((_plain(option) for option in options.values()), key=len, reverse=True)
    return re.compile(
        "|".join(
            (r"(?<!\w)" if _bounded(name[0]) else "")
            + re.escape(name).replace(r"\ ", " ")
            + (r"(?!\w)" if _bounded(name[-1]) else "")
            for name in names
        ),
        0 if exact else re.IGNORECASE,
    )


def _bounded(character: str) -> bool:
    """Whether words of this script are set apart by spaces."""
    return character.isalnum() and ord(character) < 0x2E80


def _is_letter(option: str) -> bool:
    return len(option) == 1 and "A" <= option.upper() <= "J"


def _letter_of(statement: Statement) -> str | None:
    if statement.answer is not None and (letter := stated_letter(statement.answer)) is not None:
        return letter
    if statement.found and statement.answer is None:
        return None
    return chosen_letter(statement.reply)
