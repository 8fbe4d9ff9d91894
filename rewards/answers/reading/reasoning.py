"""The reply without the reasoning before it."""

import re

_OPEN = re.compile(r"<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_CLOSE = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)


def without_reasoning(text: str) -> str | None:
    """What follows the last `</think>`; None if a `<think>` is not closed: the reply never came."""
    if "<" not in text:
        return text
    *_, last = [0, *(found.end() for found in _CLOSE.finditer(text))]
    reply = text[last:]
    return None if _OPEN.search(reply) else reply
