"""How labelled queries are packed, named, and which give way."""

import orjson
import pytest

from rewards.answer_choice import AnswerChoice
from server.recording.labels import (
    dispensable,
    is_key_of,
    label_key,
    packed_query,
    unpacked_query,
)
from server.recording.reservoir import Query

QUERY = Query(
    [{"role": "user", "content": "2+2?"}], {"max_tokens": 9}, "4", "c1", AnswerChoice("math"), "h1"
)


def test_a_query_survives_json() -> None:
    assert unpacked_query(orjson.loads(orjson.dumps(packed_query(QUERY)))) == QUERY


@pytest.mark.parametrize("client", ["c1", "h1"])
def test_a_key_tells_whose_it_is(client: str) -> None:
    assert is_key_of(label_key(QUERY), client)
    assert not is_key_of(label_key(QUERY), "c")


def test_of_the_key_with_most_the_user_with_most_gives_way_first() -> None:
    keys = ["a:a1:0", "b:b1:1", "b:b2:2", "b:b2:3", "a:a1:4"]
    assert dispensable(keys) == "b:b2:2"
    assert dispensable(keys[:2]) == "a:a1:0"
