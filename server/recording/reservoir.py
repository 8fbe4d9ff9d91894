"""Recent distinct queries, kept in memory as material for the gate."""

import hashlib
import random
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from rewards.answer_choice import MATH_OR_LAST_NUMBER, AnswerChoice
from server.engine.base import Prompt


@dataclass(frozen=True, slots=True)
class Query:
    """A voted query as it went to the engine: `options` without n, seed and model; `client` is a
    pseudonym. Only the operator's own queries have a `label`."""

    prompt: Prompt
    options: Mapping[str, Any]
    label: str | None = None
    client: str = ""
    answer: AnswerChoice = MATH_OR_LAST_NUMBER


class Reservoir:
    """The last `limit` distinct queries that could be recorded; where one prompt in `one_in` is
    held out from learning, those only."""

    def __init__(self, limit: int = 512, one_in: int = 0) -> None:
        self._limit, self._one_in = limit, one_in
        self._queries: OrderedDict[str, Query] = OrderedDict()
        self.forgotten = 0
        """Queries removed since the start because their clients opted out."""

    def __len__(self) -> int:
        return len(self._queries)

    def add(self, key: str, query: Query) -> None:
        """Keep a query, unless others are held out for the gate; equal ones have the same `key`."""
        if self._one_in and not self.holds_out(query.prompt):
            return
        self._queries[key] = query
        self._queries.move_to_end(key)
        while len(self._queries) > self._limit:
            self._queries.popitem(last=False)

    def holds_out(self, prompt: Prompt) -> bool:
        """Whether this prompt is for the gate and never learnt from, in whatever form it asks."""
        if not self._one_in:
            return False
        digest = hashlib.sha256(orjson.dumps(prompt)).digest()
        return int.from_bytes(digest[:4], "big") % self._one_in == 0

    def forget(self, clients: Collection[str]) -> None:
        """Remove the queries of these clients."""
        gone = [key for key, query in self._queries.items() if query.client in clients]
        for key in gone:
            del self._queries[key]
        self.forgotten += len(gone)

    def draw(self, count: int) -> list[Query]:
        """At most `count` of them, in random order."""
        return random.sample(list(self._queries.values()), min(count, len(self)))
