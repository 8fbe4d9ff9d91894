"""The final answer stated in a rollout's text, and whether the text loops."""

import re
import zlib

from rewards.answers.canonical import form_of

MAX_ANSWER_CHARS = 1_000
"""Longer text is no answer: it is a runaway generation, and costly to compare."""

_TAIL_CHARS = 20_000
_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*")
_PLAIN_BOX = re.compile(r"\{([^{}\\]*)\}")
_BARE_BOX = re.compile(r"(\\[a-zA-Z]+|[-+]?\d[\d.,/]*|[a-zA-Z])")
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


def extract_answer(text: str, last_number: bool = True) -> str | None:
    """The final answer stated in `text`, or None.

    In order: the last `\\boxed{…}`; what follows the last "answer is", "answer:" or "####"; an
    option letter alone on the last line; with `last_number`, the last number. A box that never
    closes means that the rollout was cut short: no answer, whatever precedes it.
    """
    if boxes := list(_BOX.finditer(text)):
        return usable(_boxed(text, boxes[-1].end()))
    text = text[-_TAIL_CHARS:]
    if stated := list(_STATED.finditer(text)):
        rest = text[stated[-1].end() : stated[-1].end() + MAX_ANSWER_CHARS + 1]
        return usable(_SENTENCE_END.split(rest, maxsplit=1)[0].strip("*_ "))
    if letter := _LETTER_LINE.fullmatch(text.rstrip().rpartition("\n")[2]):
        return letter[1]
    numbers = _NUMBER.findall(text) if last_number else []
    return usable(numbers[-1]) if numbers else None


def usable(answer: str | None) -> str | None:
    """The answer without surrounding space; None if it is empty or too long."""
    answer = (answer or "").strip()
    if not answer or len(answer) > MAX_ANSWER_CHARS or not form_of(answer).text:
        return None
    return answer


def loops(text: str) -> bool:
    """Whether `text` repeats itself like a stuck generation: its entropy is near zero, which DARE
    would reward. Some window of 1,024 or 4,096 characters then compresses to less than an eighth,
    which prose, working and tables never do."""
    if len(text) < _LOOP_WINDOWS[0]:
        return False
    costs = _block_costs(text)
    for window in _LOOP_WINDOWS:
        half = window // 2
        for start in range(0, len(text) - window + 1, half):
            blocks = costs[start // _BLOCK : (start + window) // _BLOCK]
            if _LOOP_RATIO * (sum(blocks) - _FLUSH_BYTES * len(blocks)) < window:
                chunk = text[start : start + window].encode(errors="replace")
                if len(chunk) > _LOOP_RATIO * len(zlib.compress(chunk, 1)):
                    return True
    return False


def _block_costs(text: str) -> list[int]:
    """Bytes that each 512 characters add to the compressed text before them: few where it loops, so
    few windows need a compression of their own. Of each, `_FLUSH_BYTES` at most end a block."""
    compressor = zlib.compressobj(1)
    return [
        len(compressor.compress(text[at : at + _BLOCK].encode(errors="replace")))
        + len(compressor.flush(zlib.Z_SYNC_FLUSH))
        for at in range(0, len(text), _BLOCK)
    ]


def _boxed(text: str, at: int) -> str | None:
    if at == len(text) or text[at] != "{":
        bare = _BARE_BOX.match(text, at)
        return bare[1] if bare else None
    if plain := _PLAIN_BOX.match(text, at):
        return plain[1]
    depth = 0
    for end in range(at, min(len(text), at + MAX_ANSWER_CHARS + 2)):
        escaped = text[end - 1] == "\\"
        depth += 0 if escaped else (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[at + 1 : end]
    return None
