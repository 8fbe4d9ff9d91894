"""What a query of the gate is called, and which slices of the traffic it belongs to."""

import random
from collections import Counter
from collections.abc import Sequence

from server.promotion.decision.spread import spread
from server.recording.reservoir import Query
from server.recording.template import digest_of, template_of


def query_id(query: Query) -> str:
    """The start of the SHA-256 of the prompt, in hexadecimal."""
    return digest_of(query.prompt)


def slices_of(query: Query) -> Sequence[str]:
    """The slices that must hold each on its own: by client, kind of answer, and prompt template,
    which is the prompt's beginning without its numbers."""
    found = [f"kind:{query.answer.kind}", f"template:{template_of(query.prompt)}"]
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
    parts = [
        (query.holder, query.client, query.answer.kind, template_of(query.prompt))
        for query in queries
    ]
    return [queries[at] for at in spread(parts, random.Random(random.getrandbits(32)))]
