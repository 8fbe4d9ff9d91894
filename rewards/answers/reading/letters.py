"""The option letter that a reply chooses, in any usual spelling."""

import re

from rewards.answers.equality.layout import plain_characters, without_layout

_LINE = re.compile(
    r"[\s*_`\"'#>-]*(?:option|choice|answer)?\s*[(\[]?([A-Ja-j])[)\].:]*[\s*_.`\"']*", re.I
)
_LABELLED = re.compile(r"[\s*_`#>-]*(?:[(\[]([A-Ja-j])[)\]]|([A-J])[).:\]])[\s*_`]*(?=\S|$)")
_NAMED = re.compile(
    r"\b(?:option|choice|choose|pick|select)\s*[:=]?[\s*_`\"']*[(\[]?([A-J])(?![\w'])[)\]]?",
    re.IGNORECASE,
)
_ANOTHER = re.compile(r"(?:\b(?:and|or)|[,&/])\s*[(\[]?[A-J][)\]]?(?=\s*(?:$|[.,;]))")
_WORD_AFTER = re.compile(r"\s+[^\W\d_]")
_NAMES = ("option", "choice", "choose", "pick", "select")
_BRACKETED = re.compile(r"[(\[]([A-J])[)\]]")
_BOLD = re.compile(r"\*\*\(?([A-J])[).:]?(?:\*\*|\s)")
_STATED = re.compile(
    r"[\s*_`\"'$]*(?:option|choice)?\s*[(\[]?([A-Ja-j])(?:[)\].:,*_`\"'$\s]+.*|)", re.I | re.DOTALL
)


def stated_letter(statement: str) -> str | None:
    """The letter that a marked statement begins with: "B", "(b)", "option C", "C. Paris"."""
    text = without_layout(plain_characters(statement))
    match = _STATED.fullmatch(text)
    if match is None or _ANOTHER.search(text):
        return None
    if (match[1].islower() or match[1] in "AI") and _WORD_AFTER.match(text, match.end(1)):
        return None  # an article, or a word of its own
    return match[1].upper()


def chosen_letter(reply: str) -> str | None:
    """The letter alone on the last line or the first, before the text of its option, or the only
    one that the reply names."""
    lines = [line for line in reply.strip().splitlines() if line.strip()]
    if not lines:
        return None
    for line in (lines[-1], lines[0]):
        if match := _LINE.fullmatch(line):
            return match[1].upper()
    if _ANOTHER.search(reply):
        return None
    labelled = {(m[1] or m[2]).upper() for line in lines if (m := _LABELLED.match(line))}
    if len(labelled) == 1 and any(_LABELLED.match(line) for line in (lines[0], lines[-1])):
        return labelled.pop()
    folded = reply.lower()
    patterns = (_NAMED,) if any(word in folded for word in _NAMES) else ()
    for pattern in (*patterns, _BOLD, _BRACKETED):
        named = {letter.upper() for letter in pattern.findall(reply)}
        if named:
            return named.pop() if len(named) == 1 else None
    return None
