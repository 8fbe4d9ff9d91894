"""Where the sentence of an answer ends."""

import re

_ENDS = re.compile(r"\.(?=\s|$|[\"*_)\]])|\u3002|\u0964|[!?](?=\s+\S)|[\n\r\u2028]")
_INITIAL = re.compile(r"(?:^|[\s(.\"])([A-Z])\Z")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:Dr|Mr|Mrs|Ms|Prof|St|Mt|Ft|Gen|Col|Sgt|Capt|Lt|Rev|Hon|vs|approx|ca|cf|"
    r"i\.e|e\.g|Fig|Eq|Sec|Ch|Art|Vol|pp|sp|var)\Z"
)
_NUMBERED = re.compile(r"(?:^|[\s(])(?:No|Nr|no)\Z")
_HALF_OF_DAY = re.compile(r"(?:^|\d|\s)[ap]\.m\Z", re.IGNORECASE)
_NAMES = re.compile(r"\s*(?:[A-Z][\w'-]*\.?\s+){0,2}[A-Z][\w'-]*\s*(?:[.,;!?*_)]|$)")
_REASON = re.compile(
    r"\s*(?:,|\u2014|--|;)?\s+(?:because|since|as\s+(?:it|the|this|we|they)\b|given\s+that|"
    r"due\s+to|which\s+(?:is|was|means)|so\s+that)\b.*|\s*(?:\uff0c|,)?\s*(?:\u56e0\u4e3a|\u56e0\u70ba).*"
    r"|\s*,?\s+(?:weil|porque|perch\u00e9|parce\s+que|omdat|poniewa\u017c)\b.*|,\s+(?:denn|car)\b.*",
    re.DOTALL | re.IGNORECASE,
)
MOST_CHARS = 1_000
"""Longer text is no answer: it is a runaway generation, and costly to compare."""


def sentence_at(text: str, at: int) -> str:
    """The sentence, or the line, that begins at `at`, without a reason given in it. It does not end
    within initials, abbreviations, numbers, `$…$` or backticks."""
    rest = text[at : at + MOST_CHARS + 2]
    for end in _ENDS.finditer(rest):
        before = rest[: end.start()]
        if end[0] in "\n\r\u2028":
            break
        if before.count("$") % 2 or before.count("`") % 2:
            continue
        if end[0] == "." and _goes_on(before, rest[end.end() :]):
            continue
        break
    else:
        return without_reason(rest)
    return without_reason(rest[: end.start()] + (end[0] if end[0] in "!?" else ""))


def without_reason(sentence: str) -> str:
    """Up to a "because"."""
    return _REASON.sub("", sentence, count=1)


def _goes_on(before: str, after: str) -> bool:
    """Whether a full stop between these is none."""
    follows = after.lstrip(" ")
    if not follows or follows[0] in "\n\r":
        return False
    if _NUMBERED.search(before):
        return follows[0].isdigit()
    if _ABBREVIATION.search(before):
        return True
    if _HALF_OF_DAY.search(before):
        return not follows[0].isupper()
    initial = _INITIAL.search(before)
    if initial is None:
        return False
    earlier = before[: initial.start(1)].rstrip(' ("')
    if not earlier:
        return follows[0].islower() or _NAMES.match(after) is not None
    last = earlier.split()[-1]
    return last[0].isupper() and follows[0].isupper()
