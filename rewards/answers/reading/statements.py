"""What a text marks as its answer: a box, a tag, `####`, or "the answer is …"."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from rewards.answers.equality.forms import form_of
from rewards.answers.reading.languages import Mark, marks
from rewards.answers.reading.programs import without_programs, written_by_a_call
from rewards.answers.reading.reasoning import without_reasoning
from rewards.answers.reading.remarks import after_remark, remarked, sort_of, without_filler
from rewards.answers.reading.sentences import MOST_CHARS, sentence_at

_END_CHARS, _TAIL_CHARS = 600, 20_000
"""Statements are looked for at the end, then in more of the text."""
_MOST_STATEMENTS = 64
_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*")
_PLAIN_BOX = re.compile(r"\{([^{}\\]*)\}")
_BARE_BOX = re.compile(r"(\\[a-zA-Z]+|[-+]?\d[\d.,/]*|[a-zA-Z])")
_TAG = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL)
_HASHES = re.compile(r"(?:^|(?<=\s))####(?!#)[ \t]*([^\n]*)")
_HEADING = re.compile(r"^[#*_ \t]*(?:final\s+)?answer[*_ \t]*$\n+", re.IGNORECASE | re.MULTILINE)
_TITLES = ("nswer\n", "nswer \n", "nswer:\n", "nswer*", "nswer_")
_HEADING_LINE = re.compile(r"\d+\s*[.)]\s+\S")
_REPLY_LINE = re.compile(r"^[ \t*_>]*A[*_]{0,2}[:\uff1a][*_]{0,2}[ \t]*(?=\S)", re.MULTILINE)
_QUESTION_LINE = re.compile(r"^[ \t*_>]*Q[*_]{0,2}[:\uff1a]", re.MULTILINE)
_OTHER_OPTION = re.compile(r"^[ \t*_>(]*[B-J][*_]{0,2}[:.)]", re.MULTILINE)
_LEAD = re.compile(r"(?:[\s:=*_\uff1a]|(?:the\s+following|as\s+follows)\s*:)*", re.IGNORECASE)
_BLOCKS = (
    ("\\[", "\\]"), ("$$", "$$"), ("\\(", "\\)"),
)  # fmt: skip
_FENCE = re.compile(r"```[\w+-]*[ \t]*\n")
_NO_ANSWER = re.compile(
    r"(?:not|n't|neither|unknown|unclear)\b|(?:nicht|niet|pas|n\u00e3o|\u043d\u0435)\s+[(]?(?:\d|[A-J]\b)",
    re.IGNORECASE,
)
_LAYOUT_TAG = re.compile(r"</?[a-z][a-z0-9_-]*\s*/?>", re.IGNORECASE)
_CONDITION = re.compile(r"\b(?:if|had|were|unless|otherwise|without)\b", re.IGNORECASE)
_CLOSERS = {
    ")": "(",
    "]": "[",
    "}": "{",
    "\u300d": "\u300c",
    "\u201d": "\u201c",
    "\uff09": "\uff08",
}
_PLACEHOLDERS = frozenset({"", "...", "\\ldots", "\\dots", "answer", "your answer", "final answer"})


@dataclass(frozen=True, slots=True)
class Statement:
    """`reply`: the text without its reasoning. `found`: something in it is marked, or it was cut
    short, so that nothing else in it counts; `answer` is what is marked, None if of no use.
    `passing`: what is stated later in passing, the last first; it is of another sort."""

    reply: str
    found: bool = False
    answer: str | None = None
    passing: tuple[str, ...] = ()


def marked(text: str) -> Statement:
    """The last marked statement of a text, whatever its form. A box that never closes means that
    the rollout was cut short, and so does reasoning: no answer, whatever precedes it."""
    reply = without_reasoning(text)
    if reply is None:
        return Statement("", found=True)
    if not reply.isascii():
        reply = unicodedata.normalize("NFC", reply)
    prose = without_programs(reply)
    if (boxes := list(_BOX.finditer(prose))) and _boxed(reply, boxes[-1].end()) is None:
        return Statement(reply, found=True)
    at, boxed = 0, None
    for box in reversed(boxes):
        if (boxed := usable(_boxed(reply, box.end()))) is not None:
            at = box.start()
            break
    tails = (_END_CHARS, _TAIL_CHARS) if len(reply) > _END_CHARS else (_TAIL_CHARS,)
    for tail in tails:
        began = max(at, len(reply) - tail)
        answer, passing = _leading(_statements(reply[began:], prose[began:]), boxed)
        further = tail == _END_CHARS and began > at
        if answer is not None and not (further and passing and sort_of(answer) == "words"):
            return Statement(reply, True, answer, tuple(each for each in passing if each != answer))
    return Statement(reply, found=bool(boxes), answer=boxed)


def _leading(statements: "list[_Said]", boxed: str | None) -> tuple[str | None, list[str]]:
    """The last statement, and those in passing after what is set apart. One in passing counts after
    a box and the like only if it states the same sort of thing, and after another in passing
    unless it states words where that has a value. A box alone is left to the caller."""
    later: list[str] = []
    for said in statements[:_MOST_STATEMENTS]:
        answer = usable(said.read())
        if answer is None:
            continue
        if said.set_apart:
            return _unless_displaced(answer, later), later
        if not said.conditional or not later:
            later.append(answer)
    if not later:
        return None, later
    if boxed is not None:
        return _unless_displaced(boxed, later), later
    return next((each for each in later if sort_of(each) != "words"), later[0]), later


def _unless_displaced(answer: str, later: list[str]) -> str:
    if not later:
        return answer
    sort = sort_of(answer)
    return next((each for each in later if sort_of(each) == sort != "words"), answer)


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


class _Said(NamedTuple):
    """One statement that is no box: where it begins and what reads it. `set_apart` by its form; of
    others some are `conditional`."""

    start: int
    read: Callable[[], str | None]
    set_apart: bool = True
    conditional: bool = False


def _statements(text: str, prose: str) -> list[_Said]:
    """The statements of a text, the last first. `prose` is as long, without its programs."""
    found: list[_Said] = []
    tags = list(_TAG.finditer(prose)) if "<" in prose else []
    found += [_Said(tag.start(), partial(_tagged, text[tag.start(1) : tag.end(1)])) for tag in tags]
    if "####" in prose:
        end = len(text.rstrip())
        for line in _HASHES.finditer(prose):
            if (stated := _after_hashes(line[1], line.end() >= end)) is not None:
                found.append(_Said(line.start(), partial(str, stated)))
    for mark in marks(prose):
        if any(tag.start() < mark.start < tag.end() for tag in tags):
            continue
        if not mark.doubted and not written_by_a_call(prose, mark.start):
            conditional = prose[mark.start : mark.end].rstrip().lower().endswith("would be")
            if conditional and _CONDITION.search(prose, max(0, mark.start - 120), mark.start):
                continue
            found.append(_Said(mark.start, partial(_marked, text, mark), mark.signed, conditional))
    if any(title in prose for title in _TITLES):
        for heading in _HEADING.finditer(prose):
            found.append(_Said(heading.start(), partial(_stated, text, heading.end())))
    if "A:" in prose or "A*" in prose or "A\uff1a" in prose:
        asked = _QUESTION_LINE.search(prose) is not None
        for line in _REPLY_LINE.finditer(prose):
            if asked or not (prose[: line.start()].strip() or _OTHER_OPTION.search(prose)):
                found.append(_Said(line.start(), partial(_stated, text, line.end())))
    return sorted(found, key=lambda each: each.start, reverse=True)


def _tagged(content: str) -> str | None:
    """What a tag encloses, or what that marks in turn."""
    inner, _ = _leading(_statements(content, content), None)
    return content if inner is None else inner


def _after_hashes(line: str, last: bool) -> str | None:
    """What `####` marks; a heading, "2. Result", is no answer, nor is what goes on below unless its
    line is a value alone."""
    whole = line.strip().strip("*_ ")
    if _HEADING_LINE.match(whole):
        return None
    stated = sentence_at(line, 0).strip("*_ ")
    return stated if last or form_of(whole).value is not None else None


def _marked(text: str, mark: Mark) -> str | None:
    """What follows a mark, up to the bracket, quote or tag that encloses both."""
    stated = _stated(text, mark.end, mark)
    if stated is None:
        return None
    line = text[max(text.rfind("\n", 0, mark.start) + 1, mark.start - _END_CHARS) : mark.start]
    while stated and (
        (stated[-1] in _CLOSERS and not any(c in stated for c in "([{" + _CLOSERS[stated[-1]]))
        or (stated[-1] in "\"'" and stated.count(stated[-1]) == 1 and line.count(stated[-1]) % 2)
    ):
        stated = stated[:-1].rstrip("*_. ")
    if mark.signed:
        return stated
    stated = without_filler(stated)
    return after_remark(stated) if remarked(stated) else stated


def _stated(text: str, at: int, mark: Mark | None = None) -> str | None:
    lead = _LEAD.match(text, at)
    at = at if lead is None else lead.end()
    while tag := _LAYOUT_TAG.match(text, at):
        if not text[tag.end() :].strip():
            break
        lead = _LEAD.match(text, tag.end())
        at = tag.end() if lead is None else lead.end()
    block = block_at(text, at)
    if block is not None:
        return block.strip()
    stated = sentence_at(text, at)
    if tag := _LAYOUT_TAG.search(stated, 1):
        stated = stated[: tag.start()]
    no_after = mark.language.no_after if mark is not None else ""
    if no_after and re.search(no_after, stated):
        return None
    if mark is not None and mark.language.ending is not None:
        stated = mark.language.ending.sub("", stated)
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
