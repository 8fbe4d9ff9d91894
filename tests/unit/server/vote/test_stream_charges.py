"""What a stream is charged for that ends before its usage is known."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import orjson
import pytest

from server.api.requests import ChatRequest
from server.charge import Charge, Cost
from server.engine.base import Chunk
from server.engine.scripted import ScriptedEngine
from server.policy.leases import Lease
from server.vote.passthrough import stream_through


class Coalescing(ScriptedEngine):
    """Sends the tokens that `stream_interval` says in each event, as vLLM does."""

    @asynccontextmanager
    async def stream(self, request: Any, names: Any) -> AsyncIterator[AsyncIterator[list[Chunk]]]:
        size = int(request.options.get("stream_interval") or 1)

        async def chunks() -> AsyncIterator[list[Chunk]]:
            while True:
                choice = {"index": 0, "delta": {"content": "z" * size}, "finish_reason": None}
                yield [Chunk(orjson.dumps({"choices": [choice]}), False)]

        yield chunks()


@pytest.mark.parametrize("interval", [1, 1000])
async def test_who_leaves_before_the_end_pays_for_what_has_come(interval: int) -> None:
    request = ChatRequest.model_validate(
        {
            "model": "ratchet", "messages": [{"role": "user", "content": "?"}], "stream": True,
            "stream_interval": interval, "ratchet": {"rollouts": 1},
        }
    )  # fmt: skip
    charge, got = Charge(Cost(prompt=5, each=20_000, rollouts=1)), 0
    events = stream_through(
        Coalescing(lambda *_: []), request, Lease(0, "base", False), 9.0, charge
    )
    async with aclosing(events):
        async for event in events:
            got += event.count(b"z")
            if got >= 4_000:
                break
    assert charge.tokens == got + 5


async def test_tokens_that_are_not_shown_stay_estimated() -> None:
    request = ChatRequest.model_validate(
        {
            "model": "ratchet", "messages": [{"role": "user", "content": "?"}], "stream": True,
            "include_reasoning": False, "ratchet": {"rollouts": 1},
        }
    )  # fmt: skip
    charge = Charge(Cost(prompt=5, each=20_000, rollouts=1))
    events = stream_through(
        Coalescing(lambda *_: []), request, Lease(0, "base", False), 9.0, charge
    )
    async with aclosing(events):
        await anext(events)
    assert charge.tokens >= 20_000
