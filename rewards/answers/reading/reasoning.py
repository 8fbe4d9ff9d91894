"""The reply without the reasoning before it."""

import re
import string

from rewards.rollouts import Rollout

_NAMES = r"(?:think|thinking|thought|thoughts|reasoning|seed:think|scratchpad)"
_OPEN = re.compile(
    rf"<{_NAMES}\s*>|(?-i:\[THINK\])|\u25c1think\u25b7|<\|begin_of_thought\|>"
    r"|<\|channel\|>\s*(?:analysis|commentary)\b",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"</{_NAMES}\s*>|(?-i:\[/THINK\])|\u25c1/think\u25b7|<\|end_of_thought\|>"
    r"|<\|channel\|>\s*final\s*<\|message\|>",
    re.IGNORECASE,
)
_UNMARKED = tuple(f"analysis{letter}" for letter in string.ascii_uppercase)
"""The channels of gpt-oss where its special tokens are left out."""
_BEGINS = "<[\u25c1"


def without_reasoning(text: str) -> str | None:
    """What follows the last end of reasoning, such as `</think>`; None if reasoning is not closed:
    the reply never came."""
    if text.startswith(_UNMARKED):
        reasoning, _, reply = text.rpartition("assistantfinal")
        return reply if reasoning else None
    if not any(begin in text for begin in _BEGINS):
        return text
    *_, last = [0, *(found.end() for found in _CLOSE.finditer(text))]
    reply = text[last:]
    return None if _OPEN.search(reply) else reply


def said_by(rollout: Rollout) -> str:
    """What a rollout says, without how it got there; all of it if it got nowhere. Its calls too."""
    calls = [f"{call.name} {call.arguments}" for call in rollout.calls]
    return "\n".join([without_reasoning(rollout.text) or rollout.text, *calls])
