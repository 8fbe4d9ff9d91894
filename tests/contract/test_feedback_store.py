"""One suite over every feedback store."""

import asyncio

import pytest

from adapter.store.buffer import BufferUnavailable
from server.recording.feedback import Answered
from server.recording.feedback_stores import RedisFeedback, open_feedback
from tests.key_values import SERVERS
from tests.ports import free_port

ANSWERED = Answered(["4", None, "5"], "4")


@pytest.fixture(params=["memory", *SERVERS])
async def url(request, servers) -> str:
    return "memory://" if request.param == "memory" else servers(request.param).url


async def test_answers_are_remembered_by_id(url: str) -> None:
    store = open_feedback(url, 60.0)
    await store.remember([("a", ANSWERED), ("b", Answered([], None))])
    assert await store.recall("a") == ANSWERED
    assert await store.recall("b") == Answered([], None)
    assert await store.recall("c") is None
    await store.close()


async def test_only_the_first_feedback_is_the_first(url: str) -> None:
    store = open_feedback(url, 60.0)
    assert [await store.first("a") for _ in range(3)] == [True, False, False]
    assert await store.first("b")
    await store.close()


async def test_nothing_is_remembered_for_long(url: str) -> None:
    store = open_feedback(url, 0.02)
    await store.remember([("a", ANSWERED)])
    async with asyncio.timeout(5.0):
        while await store.recall("a") is not None:
            await asyncio.sleep(0.005)
    await store.close()


async def test_a_server_that_is_away() -> None:
    store = RedisFeedback(f"redis://127.0.0.1:{free_port()}/0", 60.0)
    for attempt in (store.remember([("a", ANSWERED)]), store.recall("a"), store.first("a")):
        with pytest.raises(BufferUnavailable):
            await attempt
    await store.close()
