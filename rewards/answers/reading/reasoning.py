"""The reply without the reasoning before it."""

import re

from rewards.rollouts import Rollout

_OPEN = re.compile(r"<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_CLOSE = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)


def without_reasoning(text: str) -> str | None:
    """What follows the last `</think>`; None if a `<think>` is not closed: the reply never came."""
    if "<" not in text:
        return text
    *_, last = [0, *(found.end() for found in _CLOSE.finditer(text))]
    reply = text[last:]
    return None if _OPEN.search(reply) else reply


def said_by(rollout: Rollout) -> str:
    """What a rollout says, without how it got there; all of it if it got nowhere. Its calls too."""
    calls = [f"{call.name} {call.arguments}" for call in rollout.calls]
    return "\n".join([without_reasoning(rollout.text) or rollout.text, *calls])
