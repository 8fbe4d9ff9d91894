"""One suite over every feedback store."""

import asyncio
from dataclasses import replace

import pytest

from adapter.store.buffer import BufferUnavailable
from adapter.store.clients import pseudonym, pseudonyms
from adapter.store.redis.buffer import RedisBuffer
from rewards.answer_choice import AnswerChoice
from server.recording.feedback import Answered
from server.recording.feedback_stores import RedisFeedback, open_feedback
from server.recording.labels import MOST_LABELS
from server.recording.reservoir import Query
from tests.key_values import SERVERS
from tests.ports import free_port

ANSWERED = Answered(["4", None, "5"], "4")
CLIENT, HOLDER = pseudonyms("ada/u")


def labelled(question: str, label: str = "4", client: str = CLIENT, holder: str = HOLDER) -> Query:
    message = {"role": "user", "content": question}
    return Query([message], {"max_tokens": 9}, label, client, AnswerChoice("math"), holder)


@pytest.fixture(params=["memory", *SERVERS])
async def url(request, servers) -> str:
    return "memory://" if request.param == "memory" else servers(request.param).url


async def test_answers_are_remembered_by_id(url: str) -> None:
    store = open_feedback(url, 60.0, 60.0)
    await store.remember([("a", ANSWERED), ("b", Answered([], None))])
    assert await store.recall("a") == ANSWERED
    assert await store.recall("b") == Answered([], None)
    assert await store.recall("c") is None
    await store.close()


async def test_only_the_first_feedback_is_the_first(url: str) -> None:
    store = open_feedback(url, 60.0, 60.0)
    assert [await store.first("a") for _ in range(3)] == [True, False, False]
    assert await store.first("b")
    await store.close()


async def test_nothing_is_remembered_for_long(url: str) -> None:
    store = open_feedback(url, 0.02, 60.0)
    await store.remember([("a", ANSWERED)])
    async with asyncio.timeout(5.0):
        while await store.recall("a") is not None:
            await asyncio.sleep(0.005)
    await store.close()


async def test_answers_go_with_their_client(url: str) -> None:
    store = open_feedback(url, 60.0, 60.0)
    hers = {"client": pseudonyms("ada/u")[0], "holder": pseudonyms("ada/u")[1]}
    theirs = [(f"a{at}", replace(ANSWERED, **hers)) for at in range(1_200)]
    await store.remember([*theirs, ("b", ANSWERED)])
    await store.first("a0")
    assert await store.forget(pseudonyms("bob")[1]) == 0
    assert await store.forget(hers["holder"]) == 1_200
    assert await store.recall("a7") is None
    assert await store.recall("b") == ANSWERED
    await store.remember(theirs[:1])
    assert await store.forget(hers["client"]) == 1
    await store.close()


@pytest.mark.parametrize("name", ["ada/u", "ada"])
async def test_nothing_is_stored_of_who_has_opted_out(each_server, name: str) -> None:
    """Whatever a server that has not heard of it yet would store."""
    store, buffer = open_feedback(each_server.url, 60.0, 60.0), RedisBuffer(each_server.url)
    await buffer.opt_out(pseudonym(name))
    client, holder = pseudonyms("ada/u")
    mine = replace(ANSWERED, client=client, holder=holder)
    await store.remember([("a", mine), ("b", ANSWERED)])
    assert (await store.recall("a"), await store.recall("b")) == (None, ANSWERED)
    await store.close()
    await buffer.close()


async def test_the_query_is_remembered_with_the_answers(url: str) -> None:
    store = open_feedback(url, 60.0, 60.0)
    asked = replace(ANSWERED, query=replace(labelled("a"), label=None))
    await store.remember([("a", asked)])
    assert await store.recall("a") == asked
    assert await store.labelled() == []
    await store.close()


async def test_a_label_is_kept_with_its_query_and_the_latest_of_a_client_counts(url: str) -> None:
    store = open_feedback(url, 60.0, 60.0)
    other = labelled("a", "6", "c", "h")
    for query in (labelled("a"), labelled("b"), labelled("a", "5"), other):
        await store.label(query)
    assert await store.labelled() == [labelled("b"), labelled("a", "5"), other]
    await store.close()


async def test_labels_go_with_their_client_or_its_holder(url: str) -> None:
    store = open_feedback(url, 60.0, 60.0)
    other = labelled("a", "6", "c", "h")
    for whose in (CLIENT, HOLDER):
        for query in (labelled("a"), labelled("b"), other):
            await store.label(query)
        assert await store.forget(whose) == 2
        assert await store.labelled() == [other]
    await store.close()


async def test_no_label_is_kept_beyond_its_time(url: str) -> None:
    store = open_feedback(url, 60.0, 0.02)
    await store.label(labelled("a"))
    async with asyncio.timeout(5.0):
        while await store.labelled():
            await asyncio.sleep(0.005)
    await store.close()


async def test_of_too_many_labels_those_of_who_has_most_give_way(url: str) -> None:
    store = open_feedback(url, 60.0, 60.0)
    other = labelled("a", "6", "c", "h")
    await store.label(other)
    for number in range(MOST_LABELS + 2):
        await store.label(labelled(str(number)))
    kept = await store.labelled()
    assert len(kept) == MOST_LABELS
    assert kept[:2] == [other, labelled("3")]
    await store.close()


@pytest.mark.parametrize("name", ["ada/u", "ada"])
async def test_no_label_is_kept_of_who_has_opted_out(each_server, name: str) -> None:
    store, buffer = open_feedback(each_server.url, 60.0, 60.0), RedisBuffer(each_server.url)
    await buffer.opt_out(pseudonym(name))
    for query in (labelled("a"), labelled("b", client="c", holder="h")):
        await store.label(query)
    assert await store.labelled() == [labelled("b", client="c", holder="h")]
    await store.close()
    await buffer.close()


async def test_a_server_that_is_away() -> None:
    store = RedisFeedback(f"redis://127.0.0.1:{free_port()}/0", 60.0, 60.0)
    for attempt in (
        store.remember([("a", ANSWERED)]), store.recall("a"), store.first("a"),
        store.label(labelled("a")), store.labelled(),
    ):  # fmt: skip
        with pytest.raises(BufferUnavailable):
            await attempt
    await store.close()


@pytest.mark.parametrize("program", SERVERS)
async def test_what_others_wrote_is_passed_over(program: str, servers) -> None:
    """By a later release, or by whoever may write to Redis: judging and forgetting go on."""
    store = RedisFeedback(servers(program).url, 60.0, 60.0)
    await store.label(labelled("a"))
    await store.remember([("a", ANSWERED)])
    odd = [b"", b"7", b"{}", b'{"answer": "math", "label": 5, "prompt": [], "options": {}}']
    for at, data in enumerate(odd):
        await store._redis.hset("{ratchet}-feedback:labels", f"x:y:{at}", data)  # noqa: SLF001
        await store._redis.zadd("{ratchet}-feedback:labelled_at", {f"x:y:{at}": 9e9})  # noqa: SLF001
        await store._redis.set(f"{{ratchet}}-feedback:answered:odd{at}", data)  # noqa: SLF001
    assert [query.label for query in await store.labelled()] == ["4"]
    assert await store.recall("odd1") is None
    assert await store.forget(CLIENT) == 1
    await store.close()
