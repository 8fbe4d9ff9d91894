"""Answer kind `choice`: an option letter, or one of the options that a client gave."""

import re
from collections.abc import Sequence

from rewards.answer_choice import ChoiceInvalid
from rewards.answers.equality.layout import plain_characters, without_layout
from rewards.answers.equality.words import tidied
from rewards.answers.kind import may_vote
from rewards.answers.reading.denials import denied
from rewards.answers.reading.letters import chosen_letter, stated_letter
from rewards.answers.reading.statements import Statement, marked
from rewards.answers.tally import Tally, tally_by
from rewards.rollouts import Rollout

_NO_BEGINS = re.compile(r"(?:\A|[\n.:=!?,;({]|\bsay\s)[\s\"'*_`(#>-]*\Z")
_NO_ENDS = re.compile(r"[\"'*_`)\s]*(?:\Z|[,;:!?\n\u2014\u2013(}\]-]|\.(?!\s*\d))")
_ENDS = re.compile(r"[\"'*_`).!\s]*\Z")
_UNSPACED = 0x2E80
"""From here on, scripts that write without spaces."""
_NUMBER_GOES_ON = re.compile(
    r"\d(?:[.,:/\u2044-]\d|\s*[/%^+\u00b0\u00bd]|[ \u00a0\u202f]\d{3}\b|\s+\d+/\d)"
)
_NUMBER_BEGAN = re.compile(
    r"(?:\d[.,:/\u2044-]|(?:\A|[\s(=])[-\u2212]|\d[ \u00a0\u202f]|\d+\s*/\s*|\^[{]?)\Z"
)
_MOST_MENTIONS = 64
_SPACE = re.compile(r"\s+")


class ChoiceAnswers:
    """Without options, a letter from A to J. With them, the option that is marked, or else the only
    one that the reply mentions; an answer is the option as the client wrote it."""

    name = "choice"

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = _by_key(options)
        self._letters = _letters(options)
        self._spaced = any(len(option.split()) > 1 for option in options)
        self._folded = len({key.casefold() for key in self._options}) == len(self._options)
        self._mentions = {
            self._plain(_plain(each)).strip(): each for each in self._options.values()
        }

    def read(self, rollout: Rollout) -> str | None:
        """The answer of a rollout, None if there is none."""
        if not may_vote(rollout):
            return None
        statement = marked(rollout.text)
        if not self._options or self._letters:
            letter = _letter_of(statement)
            return letter if not self._options or letter is None else self._letters.get(letter)
        for stated in _stated_in(statement):
            if (only := self._only(stated)) is not None:
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
        text = self._plain(text)
        found: list[tuple[int, int, str]] = []
        for plain, option in self._mentions.items():
            at = text.find(plain)
            while at >= 0:
                end = at + len(plain)
                if _stands_alone(text, at, end) and (plain != "no" or _answers_no(text, at, end)):
                    found.append((at, end, option))
                    if len(found) > _MOST_MENTIONS:
                        return None
                at = text.find(plain, at + 1)
        whole = [
            (at, end, option)
            for at, end, option in found
            if not any(a <= at and end <= b and b - a > end - at for a, b, _ in found)
        ]
        if len({option for *_, option in whole}) != 1:
            return None
        return None if any(denied(text, at, end) for at, end, _ in whole) else whole[0][2]

    def _plain(self, text: str) -> str:
        plain = " ".join(text.split()) if self._spaced else text
        if not plain.isascii():
            plain = plain_characters(plain)
        return plain.casefold() if self._folded else plain

    def _key(self, answer: str) -> str:
        if not self._options or self._letters:
            letter = stated_letter(answer)
            return letter if letter is not None else tidied(answer)
        key = _key(answer)
        if key in self._options:
            return key
        folded = key.casefold()
        return next((k for k in self._options if self._folded and k.casefold() == folded), key)


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


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether these characters are no part of a longer word."""
    before, after = text[start - 1 : start] if start else "", text[end : end + 1]
    if _NUMBER_GOES_ON.match(text, end - 1) or (
        text[start].isdigit() and _NUMBER_BEGAN.search(text[max(0, start - 6) : start])
    ):
        return False
    return not (
        (_spaced(text[start]) and (_spaced(before) or before == "_"))
        or (_spaced(text[end - 1]) and (_spaced(after) or after == "_"))
    )


def _answers_no(text: str, start: int, end: int) -> bool:
    """Whether a "no" is an answer, and not that of "no idea": it begins a sentence, and there is
    no more of that, or it ends the text."""
    if _ENDS.match(text, end):
        return True
    before = text[max(0, start - 20) : start]
    return bool(_NO_BEGINS.search(before) and _NO_ENDS.match(text, end))


def _spaced(character: str) -> bool:
    """Whether it is of a word that spaces set apart."""
    return character.isalnum() and ord(character) < _UNSPACED


def _letters(options: Sequence[str]) -> dict[str, str]:
    """Options by their letter, if all of them are letters that an option may have."""
    found = {option.upper(): option for option in options}
    letters = len(found) == len(options) and all(len(o) == 1 and "A" <= o <= "J" for o in found)
    return found if letters else {}


def _stated_in(statement: Statement) -> tuple[str, ...]:
    """What may name the option: the answer, or else what is stated after it."""
    return () if statement.answer is None else (statement.answer, *statement.passing)


def _letter_of(statement: Statement) -> str | None:
    for stated in _stated_in(statement):
        if letter := stated_letter(stated) or chosen_letter(stated):
            return letter
    if statement.found and statement.answer is None:
        return None
    return chosen_letter(statement.reply)
