"""What a text marks as its answer: a box, a tag, `####`, or "the answer is …"."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rewards.answers.equality.forms import form_of
from rewards.answers.reading.languages import marks
from rewards.answers.reading.reasoning import without_reasoning
from rewards.answers.reading.sentences import MOST_CHARS, sentence_at

_END_CHARS, _TAIL_CHARS = 600, 20_000
"""Statements are looked for at the end, then in more of the text."""
_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*")
_PLAIN_BOX = re.compile(r"\{([^{}\\]*)\}")
_BARE_BOX = re.compile(r"(\\[a-zA-Z]+|[-+]?\d[\d.,/]*|[a-zA-Z])")
_TAG = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL)
_HASHES = re.compile(r"(?:^|(?<=\s))####(?!#)[ \t]*([^\n]*)")
_HEADING = re.compile(r"^[#*_ \t]*(?:final\s+)?answer[*_ \t]*$\n+", re.IGNORECASE | re.MULTILINE)
_TITLES = ("nswer\n", "nswer \n", "nswer:\n", "nswer*", "nswer_")
_LEAD = re.compile(r"(?:[\s:=*_\uff1a]|(?:the\s+following|as\s+follows)\s*:)*", re.IGNORECASE)
_BLOCKS = (
    ("\\[", "\\]"), ("$$", "$$"), ("\\(", "\\)"),
)  # fmt: skip
_FENCE = re.compile(r"```[\w+-]*[ \t]*\n")
_NO_ANSWER = re.compile(r"(?:not|n't|neither|unknown)\b", re.IGNORECASE)
_PLACEHOLDERS = frozenset({"", "...", "\\ldots", "\\dots", "answer", "your answer", "final answer"})


@dataclass(frozen=True, slots=True)
class Statement:
    """`reply`: the text without its reasoning. `found`: something in it is marked, or it was cut
    short, so that nothing else in it counts; `answer` is what is marked, None if of no use."""

    reply: str
    found: bool = False
    answer: str | None = None


def marked(text: str) -> Statement:
    """The last marked statement of a text, whatever its form. A box that never closes means that
    the rollout was cut short, and so does reasoning: no answer, whatever precedes it."""
    reply = without_reasoning(text)
    if reply is None:
        return Statement("", found=True)
    if not reply.isascii():
        reply = unicodedata.normalize("NFC", reply)
    if (boxes := list(_BOX.finditer(reply))) and _boxed(reply, boxes[-1].end()) is None:
        return Statement(reply, found=True)
    at, boxed = 0, None
    for box in reversed(boxes):
        if (boxed := usable(_boxed(reply, box.end()))) is not None:
            at = box.start()
            break
    for tail in (_END_CHARS, _TAIL_CHARS) if len(reply) > _END_CHARS else (_END_CHARS,):
        for _, read in _statements(reply[max(at, len(reply) - tail) :]):
            if (answer := usable(read())) is not None:
                return Statement(reply, found=True, answer=answer)
    return Statement(reply, found=bool(boxes), answer=boxed)


def last_box(text: str) -> str | None:
    """What the last box of a text encloses, "" if it never closes; None if there is no box."""
    boxes = list(_BOX.finditer(text))
    return (_boxed(text, boxes[-1].end()) or "") if boxes else None


def usable(answer: str | None) -> str | None:
    """The answer without surrounding space; None if it is empty or too long."""
    answer = (answer or "").strip()
    if len(answer) > MOST_CHARS or answer.casefold() in _PLACEHOLDERS:
        return None
    text = form_of(answer).text
    return answer if any(c.isalnum() or ord(c) > 127 for c in text) else None


def block_at(text: str, at: int) -> str | None:
    """The content of `\\[ \\]`, `$$ $$`, `\\( \\)` or a fence that begins at `at`; "" if it never
    ends; None if none begins there."""
    if fence := _FENCE.match(text, at):
        end = text.find("```", fence.end())
        return "" if end < 0 else text[fence.end() : end]
    for opening, closing in _BLOCKS:
        if text.startswith(opening, at):
            end = text.find(closing, at + 2)
            return "" if end < 0 else text[at + 2 : end]
    return None


def _statements(text: str) -> list[tuple[int, Callable[[], str | None]]]:
    """Where each statement that is no box begins, and what reads it; the last first."""
    found: list[tuple[int, Callable[[], str | None]]] = []
    if "<" in text:
        found += [(tag.start(), partial(tag.group, 1)) for tag in _TAG.finditer(text)]
    if "####" in text:
        end = len(text.rstrip())
        for line in _HASHES.finditer(text):
            stated = sentence_at(line[1], 0).strip("*_ ")
            if line.end() >= end or form_of(stated).value is not None:
                found.append((line.start(), partial(str, stated)))
    found += [(start, partial(_stated, text, at, ending)) for start, at, ending in marks(text)]
    if any(title in text for title in _TITLES):
        for heading in _HEADING.finditer(text):
            found.append((heading.start(), partial(_stated, text, heading.end(), None)))
    return sorted(found, key=lambda each: each[0], reverse=True)


def _stated(text: str, at: int, ending: "re.Pattern[str] | None") -> str | None:
    lead = _LEAD.match(text, at)
    at = at if lead is None else lead.end()
    block = block_at(text, at)
    if block is not None:
        return block.strip()
    stated = sentence_at(text, at)
    if ending is not None:
        stated = ending.sub("", stated)
    stated = stated.strip("*_ \t\uff0c\u3001")
    if stated.startswith("`") and stated.endswith("`") and len(stated) > 2:
        stated = stated.strip("`")
    return None if _NO_ANSWER.match(stated) else stated


def _boxed(text: str, at: int) -> str | None:
    """What a box encloses; "" for a box of nothing, None for one that never closes."""
    if at == len(text) or text[at] != "{":
        bare = _BARE_BOX.match(text, at)
        return bare[1] if bare else ""
    if plain := _PLAIN_BOX.match(text, at):
        return plain[1]
    depth = 0
    for end in range(at, min(len(text), at + MOST_CHARS + 2)):
        escaped = text[end - 1] == "\\"
        depth += 0 if escaped else (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[at + 1 : end]
    return None
