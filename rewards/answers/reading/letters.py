"""The option letter that a reply chooses, in any usual spelling."""

import re

from rewards.answers.equality.layout import plain_characters, without_layout
from rewards.answers.reading.denials import denied

_LINE = re.compile(
    r"[\s*_`\"'#>-]*(?:option|choice|answer)?\s*[(\[]?([A-Ja-j])[)\].:]*[\s*_.`\"']*", re.I
)
_LABELLED = re.compile(
    r"[\s*_`#>-]*(?:[(\[](?P<lettered>[A-Ja-j])[)\]]|(?P<pointed>[B-J]|A(?=[).\]])"
    r"|A(?=:\s*(?!I\b|It|The|We|This)\S+(?:\s+\S+){0,5}$))[).:\]])[\s*_`]*(?=\S|$)"
)
"""What follows "A:" may answer a question "Q:"; of an option it is short."""
_MOST_MENTIONS = 64
_CHOSEN = "option|choice|choose|pick|select|antwort"
_ARTICLE = r"[^\S\n]+(?!(?:and|or|as|because|since|is|over|for|but|rather|instead|than)\b)[^\W\d_]"
_NAMED = re.compile(
    rf"\b(?:(?i:{_CHOSEN})\s{{0,3}}[:=]?[\s*_`\"']{{0,8}}"
    r"|(?i:it\s+is|it's|go(?:ing)?\s+with)[\s*_`\"']{1,8})"
    rf"[(\[]?(?:([B-HJ])(?![\w'+#])|([AI])(?![\w'+#]|{_ARTICLE}))[)\]]?"
    r"|[\u9009\u9078]\u62e9?\s*[:\uff1a]?\s*[(]?([A-J])(?![A-Za-z0-9'])"
    r"|^\W*([A-J])[)*_`]*\s+is\s+(?:the\s+)?(?:correct|right|best|answer)\b"
)
_ANOTHER = re.compile(
    r"(?:\b(?:and|or|plus|as\s+well\s+as|und|et)|[,&/;+\u3001\u548c\u4e0e\u8207\u53ca])"
    r"\s*[(\[]?[A-J][)\]]?(?=\s*(?:$|[.,;]))"
)
_ONE_MORE = re.compile(r"[)\].:,*_`\"'$\s]*\s[(\[]?[A-J][)\].]*\s*")
_SIGN_AFTER = re.compile(r"[)\]*_`]*[:=.?]")
_INITIALS = re.compile(r"\.\s*[A-Z]\.")
_FORMULA = re.compile(
    r"\s*[=<>\u2229\u222a\u2192\u2227\u2228^]|'[A-Za-z]|\s+(?:flat|sharp|major|minor)\b"
)
_WORD_AFTER = re.compile(r"\s+[^\W\d_]")
_NAMES = ("option", "choice", "choose", "pick", "select", "it", " with ", "\u9009", "\u9078",
          " is ", "antwort")  # fmt: skip
_BRACKETED = re.compile(r"[(\[]([A-J])[)\]]")
_BOLD = re.compile(r"\*\*\(?([A-J])[).:]?(?:\*\*|\s)")
_STATED = re.compile(
    r"[\s*_`\"'$]*(?:option|choice)?\s*[(\[]?([A-Ja-j])(?:[)\].:,!*_`\"'$\s]+.*|)", re.I | re.DOTALL
)


def stated_letter(statement: str) -> str | None:
    """The letter that a marked statement begins with: "B", "(b)", "option C", "C. Paris"."""
    text = without_layout(plain_characters(statement))
    match = _STATED.fullmatch(text)
    if match is None or _ANOTHER.search(text):
        return None
    rest = text[match.end(1) :]
    if _goes_on(rest):
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
    labels = [(line, label) for line in lines if (label := _LABELLED.match(line))]
    if labels and (labels[0][0] is lines[0] or labels[-1][0] is lines[-1]):
        ends = [(line, max(label.end("lettered"), label.end("pointed"))) for line, label in labels]
        if len({line[end - 1].upper() for line, end in ends}) == 1:
            line, end = ends[0]
            turned_down = _goes_on(line[end:]) or _turned_down(line, end - 1, end)
            return None if turned_down else line[end - 1].upper()
    folded = reply.lower()
    patterns = (_NAMED,) if any(word in folded for word in _NAMES) else ()
    for pattern in (*patterns, _BOLD, _BRACKETED):
        found = list(pattern.finditer(reply))
        if found:
            named = {next(filter(None, each.groups())) for each in found}
            if len(found) > _MOST_MENTIONS:
                return None
            turned_down = any(_turned_down(reply, *each.span()) for each in found)
            return named.pop() if len(named) == 1 and not turned_down else None
    return None


def _turned_down(text: str, start: int, end: int) -> bool:
    """Whether a letter is denied; what follows a colon is the text of its option: "B: No"."""
    sign = _SIGN_AFTER.match(text, end)
    return denied(text, start, end if sign is None else sign.end())


def _goes_on(rest: str) -> bool:
    """Whether what follows a letter makes it another thing: initials, a formula, two letters."""
    return any((_ONE_MORE.fullmatch(rest), _INITIALS.match(rest), _FORMULA.match(rest)))
