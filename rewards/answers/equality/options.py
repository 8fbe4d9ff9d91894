"""Option letters, alone or with what they stand for: `(B)`, `option B`, `B) Paris`."""

import re

from rewards.answers.equality.quantities import quantity

_OPTION = re.compile(
    r"\(([A-Ja-j])\)|([A-J])\)?|\(([A-Ja-j])\)\s+(.+)|([A-J])(?:\)\s*|(:)\s)(.+)", re.DOTALL
)
_OPTION_WORD = re.compile(r"(?:option|choice)\s+(?=\(?[A-J]\)?$)", re.IGNORECASE)
_MORE = re.compile(
    r"(?<![A-Za-z])\(?[A-J][).:]|(?<![^\s,;])(?:\([a-j]\)|[a-j]\)|\(?[ivx]+\))"
    r"|^\W*(?:and|or)\b|^\s*[,&/]"
)
"""Other options, or parts of an answer that has several."""
_OPERATOR = re.compile(
    r"[-+*/]\s*\(?[A-Za-z]\)?\s*(?:$|[-+*/=^])|[=<>^\u2190-\u21ff\u2208-\u220b\u2227-\u222a"
    r"\u2282-\u2287\u00d7\u00f7\u00b7]|\\(?!text|mathrm|mathbf|d?frac|sqrt|left|pi)[a-z]"
)
"""At the beginning of the rest: the letter is a variable."""
_PARTS = re.compile(r"\(?(?:a|A|i|1)\)\s.*[\s,;]\(?(?:b|B|ii|2)\)\s*\S", re.DOTALL)


def several_parts(text: str) -> bool:
    """Whether the answer has parts of its own: `(a) 5 (b) 6`, `(i) yes (ii) no`."""
    return _PARTS.match(text) is not None


def option_letter(text: str) -> str | None:
    """The only option that a text names, in upper case; None for anything else. After a colon a
    number or a letter is what the first letter stands for: `C: 20`."""
    match = _OPTION.fullmatch(_OPTION_WORD.sub("", text, count=1))
    if match is None:
        return None
    alone, rest = match[1] or match[2], match[4] or match[7]
    if alone is None and (_MORE.search(rest) or _OPERATOR.match(rest)):
        return None
    if match[6] and (len(rest.strip()) == 1 or quantity(rest.strip()) is not None):
        return None
    return (alone or match[3] or match[5]).upper()
