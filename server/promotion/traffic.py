"""What a query of the gate is called, and which slices of the traffic it belongs to."""

import hashlib
import random
import re
from collections.abc import Sequence

import orjson

from server.promotion.decision.spread import spread
from server.recording.reservoir import Query

_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")
_HEAD = 160
"""Characters at the start of a prompt that make its template."""


def query_id(query: Query) -> str:
    """The start of the SHA-256 of the prompt, in hexadecimal."""
    return _digest(query.prompt)


def slices_of(query: Query) -> Sequence[str]:
    """The slices that must hold each on its own: by client, kind of answer, and prompt template,
    which is the prompt's beginning without its numbers."""
    found = [f"kind:{query.answer.kind}", f"template:{_template(query)}"]
    return [*found, f"client:{query.client}"] if query.client else found


def evenly(queries: Sequence[Query]) -> list[Query]:
    """The queries in a random order of which every beginning has its share of each key, and of its
    users, kinds and templates."""
    parts = [(query.holder, query.client, query.answer.kind, _template(query)) for query in queries]
    return [queries[at] for at in spread(parts, random.Random(random.getrandbits(32)))]


def _template(query: Query) -> str:
    text = query.prompt if isinstance(query.prompt, str) else orjson.dumps(query.prompt).decode()
    return _digest(_DIGITS.sub("#", text[:_HEAD]))


def _digest(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value)).hexdigest()[:12]
