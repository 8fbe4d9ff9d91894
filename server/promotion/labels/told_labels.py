"""Labels that clients have told by feedback, as the gate uses them beside the operator's.

They decide promotions only (invariant I10). Some are wrong: a question has one label here, the one
that most keys tell, each by most of its users, and keys and their users take turns, so that nobody
owns them all.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rewards.answer_choice import ChoiceInvalid
from rewards.answers.judging.time_budget import TimeBudget, within
from rewards.answers.kind import AnswerKind
from rewards.answers.kinds import AnswerKinds
from rewards.votes import take_vote
from server.promotion.traffic import query_id
from server.recording.reservoir import Query, each_in_turn

log = logging.getLogger("ratchet.promotion")

_SECONDS = 20.0


def agreed(told: Sequence[Query], kinds: AnswerKinds) -> list[Query]:
    """A query for each question, with the label that most keys tell, each by most of its users;
    none where as many tell another. It is that of a client who told this label. May wait for the
    judge of mathematics, `_SECONDS` at most in all: then what it has not compared is different.
    Labels that cannot be read, as those of a later release, are left out."""
    asked: Mapping[tuple[str, str], list[Query]] = defaultdict(list)
    for query in told:
        asked[query_id(query), query.answer.kind].append(query)
    found, until = list[Query](), time.monotonic() + _SECONDS
    for queries in asked.values():
        try:
            kind = kinds.of(queries[0].answer)
        except ChoiceInvalid:
            log.warning("labels of the kind %.40r are left out", queries[0].answer.kind)
            continue
        keys: Mapping[str, list[Query]] = defaultdict(list)
        for query in queries:
            keys[query.holder].append(query)
        with within(TimeBudget(until)):
            heard = [one for users in keys.values() if (one := _most(users, kind)) is not None]
            if (one := _most(heard, kind)) is not None:
                found.append(one)
    return found


def _most(queries: Sequence[Query], kind: AnswerKind) -> Query | None:
    """The first of those with the label that most of them have; None if as many have another."""
    if len(queries) == 1:
        return queries[0]
    vote = take_vote(kind.tally([query.label for query in queries]))
    return queries[vote.winner] if vote.winner is not None and vote.margin > 0 else None


def chosen(told: Sequence[Query], most: int) -> list[Query]:
    """At most so many, in random order, the keys in turn, and within each its users."""
    return each_in_turn(told)[:most]
