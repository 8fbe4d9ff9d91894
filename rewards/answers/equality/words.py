"""Words without what does not matter: where case is meaning, it is kept."""

import re

_SHOUTED_WORDS = "YES TRUE NONE BOTH SPAM HAM GOOD BAD HIGH LOW LEFT SAME"
_SHOUTED = frozenset(_SHOUTED_WORDS.split())
"""Short words in capitals that are no abbreviation."""
_SMALL = frozenset({"No", "Ok"})
_SMALL_WORDS = "Am An As At Be By Do He If In Is It Me My Of On Or So To Up We"
_SMALL_INSIDE = _SMALL | frozenset(_SMALL_WORDS.split())
"""Words of two letters that a capital does not change: alone, and among other words."""
_PAIRED = re.compile(r"(?:(.)\1)+", re.IGNORECASE)
_INITIALS = re.compile(r"(?<=\b[A-Z]\.)\s+(?=[A-Z]\.)")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_DOTTED = re.compile(r"\.\w\w")
_END = " ,;:!"
_LEAST_SHOUTED = 8
"""Letters of several words in capitals that are no abbreviations."""


def tidied(text: str) -> str:
    """One text for all that differ only in spaces, punctuation at the end, and case without
    meaning. Words of three letters or more are the same with a capital in front or without, longer
    ones in capitals too. `CO` and `Co`, `WHO` and `who`, `Aa` and `aa`, `mRNA` keep theirs."""
    text = _INITIALS.sub("", " ".join(text.split()).rstrip(_END))
    letters = "".join(c for c in text if c.isalpha())
    alone = " " not in text
    shouted = not alone and len(letters) >= _LEAST_SHOUTED and letters.isupper()

    def without_case(word: "re.Match[str]") -> str:
        around = text[max(0, word.start() - 1) : word.start()] + text[word.end() : word.end() + 1]
        if any(c.isdigit() or c in "_@/\\=<>" for c in around) or _DOTTED.match(text, word.end()):
            return word[0]
        return word[0].lower() if _case_is_nothing(word[0], alone, shouted) else word[0]

    return _WORD.sub(without_case, text)


def _case_is_nothing(word: str, alone: bool, shouted: bool) -> bool:
    """Whether the word means the same in lower case. `alone`: there is no other; `shouted`: all
    words are in capitals."""
    if len(word) <= 2:
        return word in (_SMALL if alone else _SMALL_INSIDE)
    if word[0].isupper() and word[1:].islower():
        return True
    if not word.isupper() or _PAIRED.fullmatch(word):
        return False
    return len(word) > 4 or shouted or word in _SHOUTED
