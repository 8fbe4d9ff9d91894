"""Labels that clients have told by feedback, as the gate uses them beside the operator's.

They decide promotions only (invariant I10). Some are wrong: a question has one label here, the one
that most of its clients tell, and keys and their users take turns, so that nobody owns them all.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rewards.answers.kinds import AnswerKinds
from rewards.votes import take_vote
from server.promotion.traffic import query_id
from server.recording.reservoir import Query, each_in_turn


def agreed(told: Sequence[Query], kinds: AnswerKinds) -> list[Query]:
    """A query for each question, with the label that most clients tell; none where as many tell
    another. May wait for the judge of mathematics."""
    asked: Mapping[tuple[str, str], list[Query]] = defaultdict(list)
    for query in told:
        asked[query_id(query), query.answer.kind].append(query)
    found: list[Query] = []
    for queries in asked.values():
        vote = take_vote(kinds.of(queries[0].answer).tally([query.label for query in queries]))
        if vote.answer is not None and vote.margin > 0:
            found.append(replace(queries[-1], label=vote.answer))
    return found


def chosen(told: Sequence[Query], most: int) -> list[Query]:
    """At most so many, in random order, the keys in turn, and within each its users."""
    return each_in_turn(told)[:most]
