"""Server-sent events, however the network cuts them."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.event_stream import events_of

DATA = st.binary(min_size=1, max_size=30).filter(
    lambda b: b"\n" not in b and b"\r" not in b and b == b.strip() and b != b"[DONE]"
)


async def in_pieces(stream: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        yield stream[start:end]


@given(st.lists(DATA, max_size=8), st.lists(st.integers(0, 10_000), max_size=12))
async def test_any_cut_gives_the_same_events(events: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(b"data: " + event + b"\n\n" for event in events)
    stream = b": keep-alive\n\n" + stream + b"data: [DONE]\n\n"
    seen = [event async for batch in events_of(in_pieces(stream, cuts)) for event in batch]
    assert seen == events


@given(st.integers(0, 40))
async def test_a_stream_without_an_end_is_no_whole_one(length: int) -> None:
    stream = b"data: {}\n\ndata: {}\n\ndata: [DONE]\n\n"[:length]
    if b"[DONE]\n\n" in stream:
        return
    with pytest.raises(EOFError):
        [batch async for batch in events_of(in_pieces(stream, [7]))]


async def test_events_larger_than_any_buffer() -> None:
    big = b"x" * 3_000_000
    stream = b"data: " + big + b"\n\ndata: [DONE]\n\n"
    cuts = list(range(0, len(stream), 65_536))
    assert [batch async for batch in events_of(in_pieces(stream, cuts))] == [[big]]
