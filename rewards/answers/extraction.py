"""Where in a rollout's text its final answer stands, and whether the rollout may vote at all."""

import re
import zlib

from rewards.answers.canonical import canonical

MAX_ANSWER_CHARS = 1_000
"""A longer extracted answer is no answer: it is a runaway generation, and costly to compare."""

_TAIL_CHARS = 20_000
_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])")
_PLAIN_BOX = re.compile(r"\{([^{}\\]*)\}")
_BARE_BOX = re.compile(r"\s*(\\[a-zA-Z]+|[-+]?\d[\d.,/]*|[a-zA-Z])")
_STATED = re.compile(r"(?:answer\s*(?:\s(?:is|was|equals)\b|[:=])|####)[\s:=*_]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?:\s|$)|\n")
_LETTER_LINE = re.compile(r"[\s*_]*\(?([A-J])[).]?[\s*_.]*")
_NUMBER = re.compile(
    "[-+\u2212\u2013]?(?:\\d{1,3}(?:,\\d{3})+(?!\\d)|\\d+)(?:\\.\\d+)?(?:\\s*/\\s*\\d+)?"
    "|[-+\u2212\u2013]?\\.\\d+"
)
_LOOP_WINDOWS = (1_024, 4_096)
_LOOP_RATIO = 8.0
_BLOCK = _LOOP_WINDOWS[0] // 2
_FLUSH_BYTES = 40


def extract_answer(text: str) -> str | None:
    """The final answer stated in `text`, or None.

    In order: the last `\\boxed{…}`; what follows the last "answer is", "answer:" or "####"; an
    option letter alone on the last line; the last number. A box that never closes means that the
    rollout was cut short: no answer, whatever stands before it.
    """
    if boxes := list(_BOX.finditer(text)):
        return usable(_boxed(text, boxes[-1].end()))
    text = text[-_TAIL_CHARS:]
    if stated := list(_STATED.finditer(text)):
        rest = text[stated[-1].end() : stated[-1].end() + MAX_ANSWER_CHARS + 1]
        return usable(_SENTENCE_END.split(rest, maxsplit=1)[0].strip("*_ "))
    if letter := _LETTER_LINE.fullmatch(text.rstrip().rpartition("\n")[2]):
        return letter[1]
    numbers = _NUMBER.findall(text)
    return usable(numbers[-1]) if numbers else None


def usable(answer: str | None) -> str | None:
    """The answer without space around it; None if nothing is left, or far too much."""
    answer = (answer or "").strip()
    if not answer or len(answer) > MAX_ANSWER_CHARS or not canonical(answer):
        return None
    return answer


def loops(text: str) -> bool:
    """Whether `text` repeats itself like a stuck generation.

    Some stretch of 1,024 or 4,096 characters compresses to less than an eighth; prose, working and
    tables stay well below that ratio (a loop's entropy is near zero, so DARE would reward it).
    """
    if len(text) < _LOOP_WINDOWS[0]:
        return False
    costs = _block_costs(text)
    for window in _LOOP_WINDOWS:
        half = window // 2
        for start in range(0, len(text) - window + 1, half):
            blocks = costs[start // _BLOCK : (start + window) // _BLOCK]
            if _LOOP_RATIO * (sum(blocks) - _FLUSH_BYTES * len(blocks)) < window:
                stretch = text[start : start + window].encode(errors="replace")
                if len(stretch) > _LOOP_RATIO * len(zlib.compress(stretch, 1)):
                    return True
    return False


def _block_costs(text: str) -> list[int]:
    """Bytes that each 512 characters add to the compressed text before them.

    What loops costs little here too, so that only few stretches have to be compressed on their own;
    ending a block takes `_FLUSH_BYTES` at most, which loops must not be charged for.
    """
    squeeze = zlib.compressobj(1)
    return [
        len(squeeze.compress(text[at : at + _BLOCK].encode(errors="replace")))
        + len(squeeze.flush(zlib.Z_SYNC_FLUSH))
        for at in range(0, len(text), _BLOCK)
    ]


def _boxed(text: str, at: int) -> str | None:
    while at < len(text) and text[at].isspace():
        at += 1
    if at == len(text) or text[at] != "{":
        bare = _BARE_BOX.match(text, at)
        return bare[1] if bare else None
    plain = _PLAIN_BOX.match(text, at)
    if plain is not None:
        return plain[1]
    depth = 0
    for end in range(at, min(len(text), at + MAX_ANSWER_CHARS + 2)):
        escaped = text[end - 1] == "\\"
        depth += 0 if escaped else (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[at + 1 : end]
    return None
