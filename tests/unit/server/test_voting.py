"""Votes over answers that only mathematics can compare, without holding up other requests."""

import asyncio
import time

import httpx

from rewards.equality import Equality
from rewards.rollouts import Rollout
from server.app import Parts, create_app
from server.scripted_engine import ScriptedEngine
from server.settings import ServerSettings
from server.voting import ballot_of

FORMS = [r"\boxed{\frac{\sqrt{3}}{3}}", r"\boxed{5}", r"\boxed{5.0}", r"\boxed{1/\sqrt{3}}",
         r"\boxed{\frac{1}{\sqrt{3}}}"]  # fmt: skip


def rollouts(*texts: str) -> list[Rollout]:
    return [Rollout(text, [1], [-0.1], "stop") for text in texts]


async def test_a_slow_judge_holds_up_nobody() -> None:
    def slow(_first: str, _second: str) -> bool:
        time.sleep(0.3)
        return True

    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    ballot = await ballot_of(Equality(slow), rollouts(r"\boxed{x + y}", r"\boxed{y + x}"))
    ticking.cancel()
    assert ballot.clusters == [0, 0]
    assert ticks >= 10


async def test_long_texts_are_read_in_a_thread() -> None:
    padding = "".join(f"{number} " for number in range(6_000))
    ballot = await ballot_of(Equality(), rollouts(padding + r"\boxed{1}", r"\boxed{1.0}"))
    assert ballot.clusters == [0, 0]


async def test_equal_forms_share_one_vote_in_the_reply() -> None:
    engine = ScriptedEngine(lambda _model, _messages, n: FORMS[:n])
    parts = Parts(ServerSettings(redis_url="memory://", rollouts=5), engine=engine)
    transport = httpx.ASGITransport(create_app(parts))  # type: ignore[arg-type]
    question = {"model": "ratchet", "messages": [{"role": "user", "content": "tan 30 degrees?"}]}
    async with parts.running(), httpx.AsyncClient(transport=transport, base_url="http://t") as http:
        reply = (await http.post("/v1/chat/completions", json=question)).json()
    assert reply["ratchet"]["answer"] == r"\frac{\sqrt{3}}{3}"
    assert reply["ratchet"]["agreement"] == 0.6
    assert reply["ratchet"]["distribution"] == {r"\frac{\sqrt{3}}{3}": 0.6, "5": 0.4}
    assert parts.judge.killed == 0
