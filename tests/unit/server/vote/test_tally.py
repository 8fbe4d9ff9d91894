"""Counting rollouts as they come in."""

import asyncio
import time

import httpx

from rewards.answers.math_answers import MathAnswers
from rewards.rollouts import Rollout
from server.engine.base import Draw
from server.engine.scripted import ScriptedEngine
from server.http.app import create_app
from server.parts import Parts
from server.settings import ServerSettings
from server.vote.tally import RunningTally

FORMS = [r"\boxed{\frac{\sqrt{3}}{3}}", r"\boxed{5}", r"\boxed{5.0}", r"\boxed{1/\sqrt{3}}",
         r"\boxed{\frac{1}{\sqrt{3}}}"]  # fmt: skip


def draws(*texts: str) -> list[Draw]:
    return [Draw(i, [1], {}, Rollout(t, [1], [-0.1], "stop")) for i, t in enumerate(texts)]


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
    tally = RunningTally(MathAnswers(slow), 2)
    await tally.add(draws(r"\boxed{x + y}", r"\boxed{y + x}"))
    tally = await tally.current()
    ticking.cancel()
    assert tally.clusters == [0, 0]
    assert ticks >= 10


async def test_long_texts_are_read_in_a_thread() -> None:
    padding = "".join(f"{number} " for number in range(6_000))
    tally = RunningTally(MathAnswers(), 2)
    await tally.add(draws(padding + r"\boxed{1}", r"\boxed{1.0}"))
    assert (await tally.current()).clusters == [0, 0]


async def test_it_is_decided_once_the_leader_cannot_be_overtaken() -> None:
    tally = RunningTally(MathAnswers(), 5)
    await tally.add(draws(r"\boxed{1}", r"\boxed{2}", r"\boxed{1.0}"))
    assert not await tally.decided()  # 2 to 1 with 2 to come: a draw is possible
    await tally.add(draws(r"\boxed{1}"))
    assert await tally.decided()  # 3 to 1 with 1 to come
    assert (tally.outstanding, (await tally.vote()).agreement) == (1, 0.75)


async def test_rollouts_without_an_answer_decide_nothing() -> None:
    tally = RunningTally(MathAnswers(), 4)
    await tally.add(draws("hm", "well", "so"))
    assert not await tally.decided()
    await tally.add(draws("no"))
    assert await tally.decided()
    assert (await tally.vote()).answer is None


async def test_less_than_certain_may_do() -> None:
    tally = RunningTally(MathAnswers(), 16, confidence=0.95)
    await tally.add(draws(*[r"\boxed{1}"] * 3))
    assert not await tally.decided()  # 1 - 1/16
    await tally.add(draws(r"\boxed{1}"))
    assert await tally.decided()  # 1 - 1/32


async def test_equal_forms_share_one_vote_in_the_reply() -> None:
    engine = ScriptedEngine(lambda _model, _messages, n: FORMS[:n])
    parts = Parts(ServerSettings(redis_url="memory://", rollouts=5, rollouts_min=5), engine=engine)
    transport = httpx.ASGITransport(create_app(parts))  # type: ignore[arg-type]
    question = {"model": "ratchet", "messages": [{"role": "user", "content": "tan 30 degrees?"}]}
    async with parts.running(), httpx.AsyncClient(transport=transport, base_url="http://t") as http:
        reply = (await http.post("/v1/chat/completions", json=question)).json()
    assert reply["ratchet"]["answer"] == r"\frac{\sqrt{3}}{3}"
    assert reply["ratchet"]["agreement"] == 0.6
    assert reply["ratchet"]["distribution"] == {r"\frac{\sqrt{3}}{3}": 0.6, "5": 0.4}
    assert parts.judge.killed == 0
