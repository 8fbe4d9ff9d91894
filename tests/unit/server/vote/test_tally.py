"""Counting rollouts as they come in."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from rewards.answers.auto_answers import AutoAnswers
from rewards.answers.kind import AnswerKind
from rewards.answers.math_answers import MathAnswers
from rewards.answers.structured.json_answers import JsonAnswers
from rewards.rollouts import Rollout
from rewards.votes import take_vote
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


@pytest.mark.parametrize("kind", [JsonAnswers(), AutoAnswers()])
async def test_long_answers_are_compared_where_they_hold_up_nobody(kind: AnswerKind) -> None:
    compared: list[int] = []

    async def judging(work: Callable[[], Any]) -> Any:
        compared.append(1)
        return work()

    for count, times in ((400, 0), (2_600, 1)):
        text = " ".join(map(str, range(count)))
        compared.clear()
        tally = RunningTally(kind, 2, judging=judging)
        await tally.add(draws(*(f'{{"a": "{text}"}}' for _ in range(2))))
        assert (await tally.current()).clusters == [0, 0]
        assert len(compared) == times


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


def weighed(*drawn: tuple[str, float], first: int = 0) -> list[Draw]:
    """Rollouts that are all different, with their probabilities."""
    return [
        Draw(i, [1], {}, Rollout(rf"\boxed{{{answer}}}", [i], [math.log(mass)], "stop"))
        for i, (answer, mass) in enumerate(drawn, first)
    ]


@pytest.mark.parametrize("unanimity", [0.0, 0.5])
async def test_one_rollout_that_is_likelier_than_the_rest_wins(unanimity: float) -> None:
    tally = RunningTally(MathAnswers(), 16, confidence=0.99, unanimity=unanimity, weighed=True)
    await tally.add(weighed(("1", 0.6)))
    assert await tally.decided()
    counted = await tally.current()
    assert tally.wins(counted)
    assert tally.needed(counted) == 1


async def test_a_likely_answer_does_not_win_for_another() -> None:
    """2 of 3 votes are for an answer that is proven not to be the likeliest."""
    tally = RunningTally(MathAnswers(), 16, confidence=0.99, weighed=True)
    await tally.add(weighed(("39", 0.1), ("139", 0.7), ("39", 0.05)))
    assert not await tally.decided()
    await tally.add(weighed(("139", 0.01), ("139", 0.01), first=3))
    assert await tally.decided()
    assert take_vote(await tally.current()).answer == "139"


async def test_rollouts_that_were_not_scored_prove_nothing() -> None:
    tally = RunningTally(MathAnswers(), 16, confidence=0.99, weighed=True)
    bad = [Rollout(r"\boxed{1}", [1], scores, "stop") for scores in ([], [math.nan], [0.1])]
    await tally.add([Draw(i, [1], {}, rollout) for i, rollout in enumerate(bad)])
    assert not await tally.decided()


async def test_short_rollouts_do_not_decide_for_a_wave() -> None:
    tally = RunningTally(MathAnswers(), 16, confidence=0.95)
    await tally.add(draws(*[r"\boxed{1}"] * 4))
    assert not await tally.decided(whole=False)
    assert await tally.decided()
    await tally.add(draws(*[r"\boxed{1}"] * 5))
    assert await tally.decided(whole=False)  # nine of sixteen


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
