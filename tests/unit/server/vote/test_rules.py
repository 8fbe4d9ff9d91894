from typing import Any

import pytest

from rewards.answer_choice import AnswerChoice
from server.api.requests import ChatRequest
from server.engine.base import EngineRequest
from server.engine.scripted import ScriptedEngine
from server.policy.support import Support
from server.vote.rules import VoteRules
from tests.serving import QUESTION, serving, until

RULES = VoteRules(
    max_deadline=3600.0,
    rollouts=4, rollouts_min=0, max_rollouts=64, temperature=1.0, confidence=1.0, deadline=300.0,
    top_logprobs=0, answer=AnswerChoice(), support=Support(),
)  # fmt: skip


def request(**body: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "ratchet", "messages": QUESTION, **body})


@pytest.mark.parametrize(
    ("body", "seconds", "engine_seconds"),
    [
        ({}, 300.0, 300.0),
        ({"max_tokens": 100}, 300.0, 300.0),
        ({"max_tokens": 8192}, 600.0, 600.0),
        ({"max_completion_tokens": 32_768}, 2400.0, 2400.0),
        ({"max_tokens": 8192, "ratchet": {"deadline": 5.0}}, 5.0, 600.0),
    ],
)
def test_time_grows_with_the_tokens_asked_for(
    body: dict[str, Any], seconds: float, engine_seconds: float
) -> None:
    asked = request(**body)
    assert (RULES.seconds(asked), RULES.engine_seconds(asked)) == (seconds, engine_seconds)


class Timed(ScriptedEngine):
    """Notes how long each draw may take."""

    def __init__(self) -> None:
        super().__init__(lambda _model, _prompt, n: [r"\boxed{4}", r"\boxed{5}"] * (n // 2))
        self.seconds: list[float | None] = []

    def draw(self, request: EngineRequest) -> Any:
        self.seconds.append(request.seconds)
        return super().draw(request)


async def test_the_engine_has_that_time_for_votes_and_top_ups() -> None:
    engine = Timed()
    async with serving(engine=engine, train_rollouts=8, engine_timeout=10.0) as api:
        await api.chat(max_tokens=8192, ratchet={"deadline": 5.0})
        await until(lambda: len(engine.seconds) == 2)
    assert engine.seconds == [20.0, 20.0]
