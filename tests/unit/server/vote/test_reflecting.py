"""The vote strategy `reflect`: one more call, in which the model chooses among its answers."""

import asyncio
from typing import Any

import pytest

from rewards.rollouts import Reflection
from server.engine.base import EngineUnavailable
from server.engine.scripted import ScriptedEngine
from tests.serving import QUESTION, Api, serving, until

ANSWERS = [r"adds \boxed{4}", r"adds \boxed{4}", r"multiplies \boxed{5}", r"adds \boxed{4}"]
REFLECT = {"strategy": "reflect"}


def asked_of(prompt: Any) -> str:
    """The reflection's question in a prompt; "" if it is the client's."""
    text = prompt if isinstance(prompt, str) else str(prompt[-1]["content"])
    return text if "Solution 1:" in text else ""


def chooses(api: Api, which: str, answers: list[str] = ANSWERS) -> None:
    """The model chooses the solution with this text in it."""

    def script(_model: str, prompt: Any, n: int) -> list[str]:
        if not (asked := asked_of(prompt)):
            return answers[:n]
        first = asked.index("Solution 1:")
        at = asked.find(which, first)
        if at < 0:
            return [which]
        return [rf"It is \boxed{{Solution {asked.count('Solution ', first, at)}}}"]

    api.engine.script = script


async def test_the_models_choice_is_served_and_recorded() -> None:
    async with serving() as api:
        chooses(api, "multiplies")
        body = (await api.chat(ratchet=REFLECT)).json()
        assert body["choices"][0]["message"]["content"] == ANSWERS[2]
        ours = body["ratchet"]
        assert (ours["strategy"], ours["answer"], ours["agreement"]) == ("reflect", "5", 0.75)
        assert (ours["rollouts"], ours["distribution"]) == (4, {"4": 0.75, "5": 0.25})
        assert (ours["recorded"], ours["reason"]) == (True, None)
        group = await api.group()
        assert group.reflection == Reflection("5")
        assert len(group.rollouts) == 4
        assert api.at_rest


async def test_one_question_more_after_the_clients_own() -> None:
    async with serving() as api:
        chooses(api, "adds")
        body = (
            await api.chat(
                ratchet=REFLECT, max_tokens=99, stop=["\n"], seed=3, logprobs=True,
                chat_template_kwargs={"enable_thinking": False},
            )
        ).json()  # fmt: skip
        first, second = api.engine.requests
        assert second["n"] == 1
        assert second["max_tokens"] == 99
        assert second["seed"] == first["seed"]
        assert second["chat_template_kwargs"] == {"enable_thinking": False}
        assert not second["logprobs"]
        assert "stop" not in second
        [message] = second["messages"]
        assert message["content"].startswith("What is 2+2?\n\nHere are solutions")
        written = sum(map(len, ANSWERS)) + len(r"It is \boxed{Solution 1}")
        assert body["usage"]["completion_tokens"] == written
        assert body["usage"]["prompt_tokens"] > len(first["messages"])


@pytest.mark.parametrize("said", ["neither convinces me", r"\boxed{Solution 9}", "again " * 500])
async def test_without_a_choice_the_vote_decides(said: str) -> None:
    async with serving() as api:
        chooses(api, said)
        ours = (await api.chat(ratchet=REFLECT)).json()["ratchet"]
        assert (ours["strategy"], ours["answer"]) == ("majority", "4")
        assert (await api.group()).reflection == Reflection(None)


@pytest.mark.parametrize("said", [r"\boxed{4}", "Who knows? I for one do not, nor will I ever."])
async def test_one_answer_alone_and_prose_are_not_reflected_upon(said: str) -> None:
    async with serving(trainable_kinds="math,text") as api:
        chooses(api, "", [said] * 4)
        ours = (await api.chat(ratchet=REFLECT)).json()["ratchet"]
        assert ours["strategy"] == "majority"
        assert len(api.engine.requests) == 1
        assert (await api.group()).reflection is None


async def test_all_rollouts_are_waited_for() -> None:
    async with serving() as api:
        chooses(api, "multiplies", [ANSWERS[0], ANSWERS[1], ANSWERS[3], ANSWERS[2]])
        api.hold_back(3)
        asking = asyncio.create_task(api.chat(ratchet=REFLECT))
        await until(lambda: api.engine.under_way)
        await asyncio.wait([asking], timeout=0.05)
        assert not asking.done()  # three of four would do for a vote
        api.let_go(3)
        assert (await asking).json()["ratchet"]["answer"] == "5"


async def test_an_engine_that_fails_to_reflect_leaves_the_vote() -> None:
    class Failing(ScriptedEngine):
        def draw(self, request):
            self.fault = EngineUnavailable("gone") if asked_of(request.prompt) else None
            return super().draw(request)

    failing = Failing(lambda _model, _prompt, n: ANSWERS[:n])
    async with serving(engine=failing) as api:
        ours = (await api.chat(ratchet=REFLECT)).json()["ratchet"]
        assert (ours["strategy"], ours["answer"], ours["recorded"]) == ("majority", "4", True)
        assert (await api.group()).reflection is None


async def test_a_reflection_that_takes_too_long_leaves_the_vote() -> None:
    class Slow(ScriptedEngine):
        def draw(self, request):
            if asked_of(request.prompt):
                self.held_back[0] = asyncio.Event()
            return super().draw(request)

    slow = Slow(lambda _model, _prompt, n: ANSWERS[:n])
    async with serving(engine=slow) as api:
        reply = await api.chat(ratchet={**REFLECT, "deadline": 0.3})
        assert reply.json()["ratchet"]["answer"] == "4"
        assert not slow.under_way


@pytest.mark.parametrize(
    ("messages", "last"),
    [
        ([{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}], 2),
        ([*QUESTION, {"role": "assistant", "content": "Well,"}], 1),
    ],
)
async def test_whatever_the_last_message_is(messages: list[dict], last: int) -> None:
    async with serving() as api:
        chooses(api, "multiplies")
        await api.chat(messages=messages, ratchet=REFLECT)
        asked = api.engine.requests[1]["messages"][-1]
        assert asked["role"] == "user"
        assert (len(asked["content"]) if last == 2 else 1) == last


async def test_a_raw_prompt_goes_on() -> None:
    async with serving() as api:
        chooses(api, "multiplies")
        body = (await api.text(ratchet=REFLECT)).json()
        assert body["choices"][0]["text"] == ANSWERS[2]
        assert api.engine.requests[1]["prompt"].startswith("2+2=\n\nHere are solutions")


async def test_a_streamed_reply_is_the_choice() -> None:
    async with serving() as api:
        chooses(api, "multiplies")
        text = (await api.chat(stream=True, ratchet=REFLECT)).text
        assert "multiplies" in text
        assert '"strategy":"reflect"' in text
