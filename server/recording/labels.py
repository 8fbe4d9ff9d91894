"""Queries that clients have told the right answer to: as the feedback stores keep them."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

from rewards.answer_choice import AnswerChoice
from server.recording.reservoir import Query

MOST_LABELS = 1_000
"""Queries with labels that are kept."""


def label_key(query: Query) -> str:
    """What a client's label on a question is kept under: `holder:client:question`."""
    asked = orjson.dumps([query.prompt, query.answer.to_json()])
    return f"{query.holder}:{query.client}:{hashlib.sha256(asked).hexdigest()[:24]}"


def is_key_of(key: str, client: str) -> bool:
    """Whether a key is of the client or holder with this pseudonym."""
    return client in key.split(":")[:2]


def dispensable(keys: Sequence[str]) -> str:
    """Of keys from the oldest on the one that gives way: the oldest of the user with most, of the
    holder with most."""
    parts = [key.split(":") for key in keys]
    held = Counter(holder for holder, *_ in parts)
    holder = max(held, key=held.__getitem__)
    users = Counter(client for whose, client, _ in parts if whose == holder)
    client = max(users, key=users.__getitem__)
    return next(key for key in keys if key.startswith(f"{holder}:{client}:"))


def packed_query(query: Query) -> dict[str, Any]:
    """A query as JSON."""
    return {
        "prompt": query.prompt,
        "options": query.options,
        "label": query.label,
        "client": query.client,
        "answer": query.answer.to_json(),
        "holder": query.holder,
    }


def unpacked_query(kept: dict[str, Any]) -> Query:
    """Inverse of `packed_query`."""
    fields: dict[str, Any] = {**kept, "answer": AnswerChoice.from_json(kept["answer"])}
    return Query(**fields)


def readable_query(data: bytes | None) -> Query | None:
    """What was packed; None for what is gone, or cannot be read."""
    if data is None:
        return None
    try:
        query = unpacked_query(orjson.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    texts = query.label, query.client, query.holder
    return query if all(isinstance(text, str) for text in texts) else None
