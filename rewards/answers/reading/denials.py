"""Whether a reply turns down what it mentions: "not B", "option A is wrong", "hardly positive"."""

import re

from rewards.answers.reading.languages import LANGUAGES

_WORDS = "|".join(
    each.no for name, each in LANGUAGES.items() if each.no and name not in ("Chinese", "Arabic")
)
_BEFORE = re.compile(
    rf"(?:\b(?:{_WORDS})|n't|n\u2019t)(?!\s+(?:only|doubt|question)\b)"
    r"\s+(?:[^\s.,;:!?]+\s+){0,4}[\"'*_`(\[]*\Z"
    r"|\b(?:non|not|un|anti)-[\"'*_`(\[]*\Z"
    r"|\b(?:eliminate|exclude|reject|rule\s+out|all\s+but)\s+(?:\w+\s+)?[\"'*_`(\[]*\Z",
    re.IGNORECASE,
)
_UNSPACED_BEFORE = re.compile(rf"(?:{LANGUAGES['Chinese'].no})[\u3000-\u9fff]{{0,2}}\Z")
_AFTER = re.compile(
    r"[\"'*_`)\].]*(?:"
    r"\s*\?(?!\s*[\"'*_`(]*(?:yes|yeah|yep|indeed|definitely|absolutely|certainly|sure)\b)"
    r"|\s*[:=]\s*(?:no|not|false|wrong|incorrect|0)\b"
    r"|\s+(?:is|was|are|were|would\s+be|can|could|must|should|does|do|seems|looks)"
    r"(?:n't|n\u2019t|\s*not|(?:\s+(?:also|clearly|definitely|obviously|simply|just|be|been|both|"
    r"therefore|thus))*\s+(?:not|never|hardly|wrong|incorrect|false|ruled|eliminated|excluded|"
    r"unlikely|impossible|tempting|out)\b)"
    r"|\s+(?:can't|isn't|doesn't|won't|cannot)\b"
    rf"|{'|'.join(each.no_after for each in LANGUAGES.values() if each.no_after)})",
    re.IGNORECASE,
)


def denied(text: str, start: int, end: int) -> bool:
    """Whether what stands between `start` and `end` is turned down there."""
    before = text[max(0, start - 60) : start]
    if _BEFORE.search(before) or _AFTER.match(text, end, end + 60):
        return True
    return not text.isascii() and _UNSPACED_BEFORE.search(before) is not None
