"""Answers that leave as soon as the vote is decided, and what becomes of the other rollouts."""

import asyncio

import httpx
import pytest

from server.engine.base import EngineUnavailable
from server.http.app import create_app
from tests.serving import QUESTION, events_of, serving, until

AGREEING = [r"\boxed{4}"] * 5 + [r"\boxed{5}"] * 3


async def test_the_reply_leaves_when_the_vote_cannot_change() -> None:
    async with serving(rollouts=8) as api:
        api.engine.script = lambda _m, _p, n: AGREEING[:n]
        api.hold_back(6, 7)
        body = (await api.chat()).json()
        # Five of eight: the two that are still being written cannot change it.
        assert body["ratchet"]["rollouts"] == 6
        assert body["ratchet"]["distribution"] == {"4": 5 / 6, "5": 1 / 6}
        assert body["ratchet"]["recorded"] is True
        assert api.engine.under_way == 1
        assert (await api.parts.buffer.state()).waiting == 0
        api.let_go(6, 7)
        assert await api.recorded() == 1
        [delivery] = await api.parts.buffer.read(1, 0.0)
        assert delivery.group is not None
        assert len(delivery.group.rollouts) == 8
        assert api.at_rest


async def test_it_waits_while_the_vote_is_open() -> None:
    async with serving(rollouts=8) as api:
        api.engine.script = lambda _m, _p, n: AGREEING[:n]
        api.hold_back(3, 4)  # three against three of eight
        asking = asyncio.create_task(api.chat())
        await until(lambda: api.engine.under_way)
        await asyncio.wait([asking], timeout=0.05)
        assert not asking.done()
        api.let_go(3)
        await asyncio.wait([asking], timeout=0.05)
        assert not asking.done()  # four to three, and one to come
        api.let_go(4)
        assert (await asking).json()["ratchet"]["rollouts"] == 8


async def test_rollouts_that_nobody_needs_are_aborted() -> None:
    async with serving(rollouts=8) as api:
        api.engine.script = lambda _m, _p, n: AGREEING[:n]
        api.hold_back(6, 7)
        body = (await api.chat(store=False)).json()
        assert body["ratchet"]["reason"] == "opted_out"
        await until(lambda: api.at_rest)
        assert await api.recorded() == 0


async def test_a_confidence_settles_it_sooner() -> None:
    async with serving(rollouts=16, vote_confidence=0.95) as api:
        api.engine.script = lambda _m, _p, n: [r"\boxed{4}"] * n
        api.hold_back(*range(4, 16))
        assert (await api.chat(store=False)).json()["ratchet"]["rollouts"] == 4
        await until(lambda: api.at_rest)
        api.let_go(4)
        body = (await api.chat(store=False, ratchet={"confidence": 0.98})).json()
        assert body["ratchet"]["rollouts"] == 8  # five are enough, in waves of four


async def test_few_rollouts_first_and_more_only_while_the_vote_is_open() -> None:
    async with serving(rollouts=16, rollouts_min=4, vote_confidence=0.9) as api:
        api.engine.script = lambda _m, _p, n: [r"\boxed{4}"] * n
        assert (await api.chat()).json()["ratchet"]["rollouts"] == 4
        api.engine.script = lambda _m, _p, n: [rf"\boxed{{{i % 2}}}" for i in range(n)]
        assert (await api.chat(seed=1)).json()["ratchet"]["rollouts"] == 16
        sizes = [request["n"] for request in api.engine.requests]
        assert sizes == [4, 4, 12]
        first, second = (request["seed"] for request in api.engine.requests[1:])
        assert second - first == 4  # as one request for 16 would draw


async def test_the_smallest_number_can_be_asked_for() -> None:
    async with serving(rollouts=16) as api:
        body = {"ratchet": {"rollouts_min": 2, "confidence": 0.8}}
        api.engine.script = lambda _m, _p, n: [r"\boxed{4}"] * n
        assert (await api.chat(**body)).json()["ratchet"]["rollouts"] == 2


async def test_as_many_choices_as_were_asked_for_are_waited_for() -> None:
    async with serving(rollouts=8) as api:
        api.engine.script = lambda _m, _p, n: [r"\boxed{4}"] * n
        api.hold_back(6, 7)
        asking = asyncio.create_task(api.chat(n=7))
        await until(lambda: api.engine.under_way)
        await asyncio.wait([asking], timeout=0.05)
        assert not asking.done()
        api.let_go(6)
        assert len((await asking).json()["choices"]) == 7
        api.let_go(7)


async def test_log_probabilities_are_asked_for_only_where_they_are_wanted() -> None:
    async with serving() as api:
        for body in ({}, {"store": False}, {"store": False, "logprobs": True}, {"logprobs": True}):
            await api.chat(**body)
        asked = [request.get("logprobs") for request in api.engine.requests]
        assert asked == [None, False, True, True]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_takes_its_rollouts_along(stream: bool) -> None:
    async with serving(rollouts=8) as api:
        api.hold_back(*range(8))
        asking = asyncio.create_task(api.chat(stream=stream))
        await until(lambda: api.engine.under_way)
        asking.cancel()
        await asyncio.wait([asking])
        await until(lambda: api.at_rest)
        assert await api.recorded() == 0


async def test_a_deadline_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(rollouts=8) as api:
        api.hold_back(*range(1, 8))
        reply = await api.chat(ratchet={"deadline": 0.05})
        assert (reply.status_code, reply.json()["error"]["code"]) == (504, "engine_timeout")
        assert api.at_rest


@pytest.mark.parametrize("ratchet", [{"rollouts": 1}, {"stream": "first"}])
async def test_a_deadline_ends_a_stream(ratchet: dict[str, object]) -> None:
    async with serving(rollouts=4) as api:
        api.hold_back(0)
        reply = await api.chat(stream=True, ratchet={**ratchet, "deadline": 0.05})
        *_, last = events_of(reply.text)
        assert last["error"]["code"] == "engine_timeout"
        await until(lambda: api.at_rest)


async def test_a_quorum_answers_when_the_deadline_comes() -> None:
    async with serving(rollouts=8) as api:
        api.engine.script = lambda _m, _p, n: AGREEING[:n]
        api.hold_back(2, 3, 4, 7)
        reply = (await api.chat(ratchet={"deadline": 0.05})).json()["ratchet"]
        assert (reply["rollouts"], reply["reason"]) == (4, "partial")
        assert await api.recorded() == 0


async def test_what_came_before_the_engine_was_lost_is_enough_of_a_quorum() -> None:
    async with serving(rollouts=8) as api:
        api.engine.script = lambda _m, _p, n: AGREEING[:n]
        api.hold_back(3, 4)
        asking = asyncio.create_task(api.chat())
        await until(lambda: api.engine.under_way)
        api.engine.fault = EngineUnavailable("gone")
        api.let_go(3, 4)
        extension = (await asking).json()["ratchet"]
        assert (extension["rollouts"], extension["reason"]) == (6, "partial")
        assert await api.recorded() == 0


async def test_lost_rollouts_are_drawn_once_more() -> None:
    async with serving(rollouts=8) as api:
        api.engine.script = lambda _m, _p, n: AGREEING[-n:]
        api.hold_back(3, 4)
        asking = asyncio.create_task(api.chat())
        await until(lambda: api.engine.under_way)
        api.engine.breaks = 1
        api.let_go(3, 4)
        extension = (await asking).json()["ratchet"]
        assert (extension["rollouts"], extension["reason"]) == (8, None)
        assert [request["n"] for request in api.engine.requests] == [8, 2]
        assert await api.recorded() == 1


async def test_the_first_rollout_streams_and_the_vote_comes_last() -> None:
    async with serving(rollouts=4) as api:
        api.hold_back(1)
        extra = {"stream": "first"}
        reply = await api.chat(stream=True, ratchet=extra, stream_options={"include_usage": True})
        *chunks, last, usage, done = events_of(reply.text)
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in [*chunks, last])
        assert text == r"\boxed{4}"
        assert all("ratchet" not in chunk for chunk in chunks)
        assert all("token_ids" not in chunk["choices"][0] for chunk in chunks)
        assert all(chunk["choices"][0]["logprobs"] is None for chunk in chunks)
        assert last["ratchet"]["rollouts"] in (3, 4)
        assert last["choices"][0]["finish_reason"] == "stop"
        assert usage["usage"]["completion_tokens"] > 0
        assert done == "[DONE]"
        api.let_go(1)
        assert await api.recorded() == 1
        [delivery] = await api.parts.buffer.read(1, 0.0)
        assert delivery.group is not None
        assert len(delivery.group.rollouts) == 4


async def test_a_text_completion_is_prompted_raw_and_voted_on() -> None:
    async with serving(rollouts=4) as api:
        body = (await api.text(n=2)).json()
        assert (body["object"], body["id"][:5]) == ("text_completion", "cmpl-")
        assert [choice["text"] for choice in body["choices"]] == [r"\boxed{4}", r"so \boxed{4}"]
        assert body["ratchet"]["answer"] == "4"
        assert api.engine.requests[0]["prompt"] == "2+2="
        assert await api.recorded() == 1
        [delivery] = await api.parts.buffer.read(1, 0.0)
        assert delivery.group is not None
        assert delivery.group.prompt == '"2+2="'


@pytest.mark.parametrize("how", ["vote", "first"])
async def test_a_text_completion_streams(how: str) -> None:
    async with serving(rollouts=4) as api:
        reply = await api.text(stream=True, ratchet={"stream": how})
        *chunks, done = events_of(reply.text)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == r"\boxed{4}"
        assert chunks[-1]["ratchet"]["answer"] == "4"
        assert {chunk["object"] for chunk in chunks} <= {"text_completion", "chunk"}
        assert done == "[DONE]"


async def test_what_is_no_prompt_is_named() -> None:
    async with serving() as api:
        assert (await api.text(prompt=["2+2="])).status_code == 200
        for prompt in ([], ["a", 1], [[]], [-1], None, 5):
            reply = await api.text(prompt=prompt)
            assert (reply.status_code, reply.json()["error"]["param"][:6]) == (400, "prompt")


async def test_sigterm_waits_for_answered_questions_to_finish() -> None:
    async with serving(rollouts=8) as api:
        api.engine.script = lambda _m, _p, n: AGREEING[:n]
        api.hold_back(7)
        await api.chat()
        flushing = asyncio.create_task(api.parts.flush(2.0))
        await asyncio.wait([flushing], timeout=0.05)
        assert not flushing.done()
        api.let_go(7)
        await flushing
        assert (await api.parts.buffer.state()).waiting == 1


async def test_readiness_tells_of_draining() -> None:
    async with serving() as api:
        await until(lambda: api.parts.engine.up)
        ready: httpx.Response = await api.client.get("/readyz")
        assert (ready.status_code, ready.json()["draining"]) == (200, False)
        api.parts.draining = True
        assert (await api.client.get("/health")).status_code == 503


async def test_what_nobody_foresaw_is_a_500_and_holds_nothing() -> None:
    async with serving() as api:

        def broken(_model: str, _prompt: object, _n: int) -> list[str]:
            raise LookupError("What is 2+2?")

        api.engine.script = broken
        # As uvicorn, which logs them.
        transport = httpx.ASGITransport(create_app(api.parts), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            body = {"model": "ratchet", "messages": QUESTION}
            reply = await client.post("/v1/chat/completions", json=body)
        assert reply.status_code == 500
        assert reply.json()["error"]["type"]
        assert "2+2" not in reply.text
        await until(lambda: api.at_rest)


async def test_held_out_prompts_go_to_the_gate_and_are_never_learnt_from() -> None:
    async with serving(rollouts=2, gate_holdout=2) as api:
        api.engine.script = lambda _m, _p, n: AGREEING[:n]
        reasons: list[str | None] = []
        for number in range(24):
            reply = await api.chat(messages=[{"role": "user", "content": f"What is {number}+1?"}])
            reasons.append(reply.json()["ratchet"].get("reason"))
        held = [number for number, reason in enumerate(reasons) if reason == "held_out"]
        assert 4 <= len(held) <= 20
        assert set(reasons) == {None, "held_out"}
        await until(lambda: api.at_rest)
        assert await api.recorded() == 24 - len(held)
        learnt = {d.group.prompt for d in await api.parts.buffer.read(99, 0.0) if d.group}
        kept = {query.prompt[0]["content"] for query in api.parts.reservoir.draw(99)}  # type: ignore[index]
        assert kept == {f"What is {number}+1?" for number in held}
        assert not any(text in prompt for text in kept for prompt in learnt)
