"""What a query of the gate is called, and which slices of the traffic it belongs to."""

import hashlib
import random
import re
from collections import Counter
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


def balanced(queries: Sequence[Query], least: int = 0) -> list[Query]:
    """The queries without those, from the last on, by which one key, or one user where there are no
    keys, would have more than half. So many are kept that `least` are left if there are as many:
    else who asks a single query would leave the gate two."""
    sizes = Counter(query.holder or query.client for query in queries)
    owner, most = max(sizes.items(), key=lambda size: size[1], default=("", 0))
    others = len(queries) - most
    if not owner or not others:  # who they are is not known, or there is nobody else
        return list(queries)
    room, kept = max(others, least - others), list[Query]()
    for query in queries:
        owned = (query.holder or query.client) == owner
        if not owned or room > 0:
            kept.append(query)
        room -= owned
    return kept


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
