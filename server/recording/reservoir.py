"""Recent distinct queries, kept in memory as material for the gate."""

import hashlib
import random
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import orjson

from rewards.answer_choice import MATH_OR_LAST_NUMBER, AnswerChoice
from server.engine.base import Prompt


@dataclass(frozen=True, slots=True)
class Query:
    """A voted query as it went to the engine: `options` without n, seed and model; `client` and
    `holder` are pseudonyms, of who asked and of whose key it was. Only queries of the
    operator's own, and those that feedback was given on, have a `label`."""

    prompt: Prompt
    options: Mapping[str, Any]
    label: str | None = None
    client: str = ""
    answer: AnswerChoice = MATH_OR_LAST_NUMBER
    holder: str = ""

    @property
    def bytes(self) -> int:
        """Of what is asked, with its options, as JSON."""
        return len(orjson.dumps([self.prompt, self.options, self.answer.to_json()]))


_MAX_QUERY_BYTES = 64 << 10
"""Of a query, with its options: a longer one is not kept."""


class Reservoir:
    """The last queries that could be recorded, each once a key, at most `limit`; where one prompt
    in `one_in` is held out from learning, those only. Who has most of them gives way first, so that
    nobody owns the gate by asking more: by key, and within it by user. Nor does who repeats what
    another key has asked: each has its own, and a drawing one of them."""

    def __init__(self, limit: int = 512, one_in: int = 0) -> None:
        self._limit, self._one_in = limit, one_in
        self._queries: OrderedDict[tuple[str, str], Query] = OrderedDict()
        self._distinct: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._held_by_user: dict[str, Counter[str]] = {}
        self.forgotten = 0
        """Queries removed since the start because their clients opted out."""

    def __len__(self) -> int:
        """Distinct queries."""
        return len(self._distinct)

    def add(self, key: str, query: Query) -> None:
        """Keep a query, unless others are held out for the gate; equal ones have the same `key`."""
        if self._one_in and not self.holds_out(query.prompt):
            return
        if query.bytes > _MAX_QUERY_BYTES:
            return
        place = query.holder, key
        if place in self._queries:
            self._remove(place)
        self._queries[place] = query
        self._distinct[key] += 1
        self._count(query, 1)
        while len(self._queries) > self._limit:
            self._remove(self._dispensable())

    def holds_out(self, prompt: Prompt) -> bool:
        """Whether this prompt is for the gate and never learnt from, in whatever form it asks."""
        if not self._one_in:
            return False
        digest = hashlib.sha256(orjson.dumps(prompt)).digest()
        return int.from_bytes(digest[:4], "big") % self._one_in == 0

    def forget(self, clients: Collection[str]) -> int:
        """Remove the queries of these clients or holders. Returns how many."""
        gone = [key for key, query in self._queries.items() if is_of(query, clients)]
        for key in gone:
            self._remove(key)
        self.forgotten += len(gone)
        return len(gone)

    def draw(self, count: int) -> list[Query]:
        """At most `count` distinct ones in random order, the keys in turn, and within each its
        users."""
        names = {id(query): key for (_, key), query in self._queries.items()}
        drawn: dict[str, Query] = {}
        for query in each_in_turn(list(self._queries.values())):
            drawn.setdefault(names[id(query)], query)
        return list(drawn.values())[:count]

    def _dispensable(self) -> tuple[str, str]:
        """The oldest query of the user with most, of the key with most; of equals the first."""
        holder = max(self._held, key=self._held.__getitem__)
        users = self._held_by_user[holder]
        client = max(users, key=users.__getitem__)
        queries = self._queries.items()
        return next(k for k, q in queries if q.client == client and q.holder == holder)

    def _remove(self, place: tuple[str, str]) -> None:
        self._count(self._queries.pop(place), -1)
        self._distinct -= Counter([place[1]])

    def _count(self, query: Query, more: int) -> None:
        users = self._held_by_user.setdefault(query.holder, Counter())
        self._held[query.holder] += more
        users[query.client] += more
        if not users[query.client]:
            del users[query.client]
        if not users:
            del self._held[query.holder], self._held_by_user[query.holder]


def is_of(query: Query, clients: Collection[str]) -> bool:
    """Whether a query is of one of these clients or holders, by their pseudonyms."""
    return query.client in clients or query.holder in clients


def each_in_turn(queries: Sequence[Query]) -> list[Query]:
    """All queries in random order, the keys in turn, and within each its users."""
    keys: dict[str, dict[str, list[Query]]] = {}
    for query in random.sample(list(queries), len(queries)):
        keys.setdefault(query.holder, {}).setdefault(query.client, []).append(query)
    return _in_turn([_in_turn(list(users.values())) for users in keys.values()])


def _in_turn(lists: Sequence[Sequence[Query]]) -> list[Query]:
    """The first of each list, then the second of each, and so on."""
    return [query for row in zip_longest(*lists) for query in row if query is not None]
