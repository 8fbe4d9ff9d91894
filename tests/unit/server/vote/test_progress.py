"""Streams that tell how the vote stands."""

import asyncio

import orjson
from openai import AsyncOpenAI

from tests.serving import QUESTION, events_of, serving


async def test_the_vote_is_told_as_rollouts_come_in() -> None:
    async with serving(rollouts=8) as api:
        api.engine.script = lambda _m, _p, n: ([r"\boxed{4}"] * 5 + [r"\boxed{5}"] * 3)[:n]
        api.hold_back(3, 4, 6)
        told: list[dict] = []

        async def read() -> str:
            body = {
                "model": "ratchet", "messages": QUESTION, "stream": True,
                "ratchet": {"stream": "progress"},
            }  # fmt: skip
            return (await api.client.post("/v1/chat/completions", json=body)).text

        reading = asyncio.create_task(read())
        await asyncio.wait([reading], timeout=0.05)
        assert not reading.done()
        api.let_go(3)
        await asyncio.wait([reading], timeout=0.05)
        api.let_go(4, 6)
        events = events_of(await reading)
        told = [event["ratchet"] for event in events[:-1] if not event["choices"]]
        assert told[0]["asked"] == 8
        counts = [vote["rollouts"] for vote in told]
        assert counts[0] == 5 and counts == sorted(set(counts))
        last = events[-2]
        assert last["ratchet"]["answer"] == "4"
        assert last["choices"][0]["finish_reason"] == "stop"
        assert events[-1] == "[DONE]"
        deltas = [event["choices"][0]["delta"] for event in events[:-1] if event["choices"]]
        text = "".join(delta.get("content") or "" for delta in deltas)
        assert text == r"\boxed{4}"


async def test_openai_s_client_reads_it() -> None:
    async with serving(rollouts=4) as api:
        client = AsyncOpenAI(base_url="http://t/v1", api_key="none", http_client=api.client)
        stream = await client.chat.completions.create(
            model="ratchet", messages=QUESTION, stream=True,
            extra_body={"ratchet": {"stream": "progress"}},
        )  # fmt: skip
        chunks = [chunk async for chunk in stream]
        assert orjson.dumps(chunks[-1].model_extra["ratchet"]["answer"]) == b'"4"'


async def test_an_engine_s_failure_ends_it() -> None:
    from server.engine.base import EngineUnavailable

    async with serving() as api:
        api.engine.fault = EngineUnavailable("gone")
        reply = await api.chat(stream=True, ratchet={"stream": "progress"})
        assert reply.status_code == 503 or '"error"' in reply.text
        assert "[DONE]" not in reply.text
