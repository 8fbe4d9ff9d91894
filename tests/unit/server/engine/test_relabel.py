"""The engine's own chunks, under our names."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.base import EngineUnavailable, Names
from server.engine.relabel import Relabel

NAMES = Names("ours", "ratchet")


def event(content: str, finish: str | None = None, **head: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    named = {"id": "theirs", "object": "chunk", "created": 1, "model": "v3-abc", **head}
    return orjson.dumps({**named, "choices": [choice]})


@given(st.lists(st.text(), min_size=1, max_size=5), st.booleans())
def test_only_the_names_change(texts: list[str], spaced: bool) -> None:
    relabel = Relabel(NAMES)
    texts = [*texts, '"id":"theirs"', '{"model":"v3-abc","finish_reason":"stop"}']
    for text in texts:
        before = event(text)
        if spaced:  # not as vLLM writes it: it is read, then
            before = before.replace(b'"id":', b'"id": ', 1)
        after = orjson.loads(relabel(before).data)
        assert after == {**orjson.loads(before), "id": "ours", "model": "ratchet"}
    assert not relabel(event('"finish_reason":"stop"')).ends
    last = relabel(event("", "stop"))
    assert last.ends
    assert orjson.loads(last.data)["choices"][0]["finish_reason"] == "stop"


def test_an_error_is_no_chunk() -> None:
    relabel = Relabel(NAMES)
    relabel(event("a"))
    with pytest.raises(EngineUnavailable):
        relabel(b'{"error":{"message":"broken","code":500}}')


def test_names_that_change_under_way_are_still_found() -> None:
    relabel = Relabel(NAMES)
    relabel(event("a"))
    assert orjson.loads(relabel(event("b", id="other")).data)["id"] == "ours"
