"""What a prompt's template is: its beginning without its numbers."""

import hashlib
import re

import orjson

from server.engine.base import Prompt

_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
_HEAD = 160
"""Characters at the start of a prompt that make its template."""


def template_of(prompt: Prompt) -> str:
    """A name for it, the same for prompts that share it."""
    text = prompt if isinstance(prompt, str) else orjson.dumps(prompt).decode()
    return digest_of(_DIGITS.sub("#", text[:_HEAD]))


def digest_of(value: object) -> str:
    """The start of the SHA-256 of a value as JSON, in hexadecimal."""
    return hashlib.sha256(orjson.dumps(value)).hexdigest()[:12]
