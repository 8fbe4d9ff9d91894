"""Votes that begin with few rollouts, and what the learner gets of them."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from rewards.answer_choice import AnswerChoice
from server.engine.base import EngineRequest, EngineUnavailable
from server.vote.rules import slices_of
from tests.serving import QUESTION, Api, serving

SURE, UNSURE = "4", r"\boxed{4}"
"""Texts of which one has a probability above 1/2 in the scripted engine, and one below."""
SPLIT = (UNSURE, r"\boxed{5}")
GOVERNED: dict[str, Any] = {"vote_confidence": 0.99, "rollouts": 16}
SLICES = slices_of(QUESTION, "anonymous", AnswerChoice())


def sizes(api: Api) -> list[int]:
    return [request["n"] for request in api.engine.requests]


async def answered(api: Api, **body: Any) -> dict[str, Any]:
    reply = await api.chat(**body)
    assert reply.status_code == 200
    return reply.json()["ratchet"]


def trusted(api: Api, questions: int = 100) -> None:
    """Questions like ours have always been answered alike, and by one rollout."""
    for _ in range(questions):
        api.parts.governor.learn(SLICES, 0.0, 1)


async def test_one_rollout_that_is_likelier_than_all_others_is_the_answer() -> None:
    async with serving(**GOVERNED) as api:
        api.says(SURE)
        vote = await answered(api)
        assert (vote["answer"], vote["agreement"]) == ("4", 1.0)
        assert (vote["recorded"], vote["reason"]) == (False, "agreed")
        await api.parts.flush(2.0)
        assert sizes(api) == [4]  # nothing is known yet: its first wave is seen to its end
        assert api.parts.governor.split(SLICES[0]) == 0.0
        assert await api.recorded() == 0
        assert len(api.parts.reservoir) == 1  # the gate asks what is asked, not what is split


async def test_rollouts_that_are_not_likely_must_agree() -> None:
    async with serving(**GOVERNED) as api:
        api.says(UNSURE)
        vote = await answered(api)
        assert (vote["rollouts"], vote["reason"]) == (
            8,
            "agreed",
        )  # six are enough, in waves of four
        assert sizes(api) == [4, 4]


async def test_a_hot_sampler_is_not_believed() -> None:
    """An engine that reports log-probabilities before temperature makes them look likelier."""
    async with serving(**GOVERNED, rollout_temperature=1.2) as api:
        api.says(SURE)
        assert (await answered(api))["rollouts"] == 8


async def test_what_is_known_of_such_questions_is_enough() -> None:
    async with serving(**GOVERNED) as api:
        trusted(api)
        api.says(UNSURE)
        assert (await answered(api))["rollouts"] <= 2
        assert sizes(api)[0] in (1, 2)


@pytest.mark.parametrize("count", [1, 2])
async def test_trust_ends_where_rollouts_disagree(count: int) -> None:
    async with serving(**GOVERNED) as api:
        trusted(api)
        for _ in range(8 * count):
            api.parts.governor.learn(SLICES, 1.0, 16)
        api.says(*SPLIT)
        vote = await answered(api)
        assert vote["rollouts"] == 16
        assert len(vote["distribution"]) == 2
        assert api.parts.governor.plan(SLICES, 16, 0.99).unanimity < 0.92


async def test_the_learner_gets_what_nothing_was_decided_by() -> None:
    """The first four disagree, or they would not be here; the other twelve are as they come."""
    async with serving(**GOVERNED) as api:
        drawn = list[str]()

        def speak(_model: str, _prompt: object, count: int) -> list[str]:
            texts = [SPLIT[number % 2] if not drawn else UNSURE for number in range(count)]
            drawn.extend(texts)
            return texts

        api.engine.script = speak
        vote = await answered(api)
        assert (vote["answer"], vote["recorded"], vote["reason"]) == ("4", True, None)
        group = await api.group()
        assert [rollout.text for rollout in group.rollouts] == [UNSURE] * 12
        assert drawn[:4] == [*SPLIT, *SPLIT]


async def test_rollouts_that_chose_a_question_count_in_what_it_may_cost() -> None:
    """Nothing is waiting for a moment in which the engine is idle."""
    async with serving(**GOVERNED, train_rollouts=16) as api:
        api.says(*SPLIT)
        await answered(api)
        assert len((await api.group()).rollouts) == 12
        assert sizes(api) == [4, 12]


async def test_groups_are_unbiased() -> None:
    """Rollouts right with p 0.8: those that choose a question are right less often, those that the
    learner gets of it as often as all."""
    async with serving(**GOVERNED) as api:
        rng, drawn = random.Random(0), dict[str, list[str]]()

        def speak(_model: str, prompt: Any, count: int) -> list[str]:
            texts = [SPLIT[rng.random() > 0.8] for _ in range(count)]
            drawn.setdefault(prompt[0]["content"], []).extend(texts)
            return texts

        api.engine.script = speak
        for index in range(400):
            await answered(api, messages=[{"role": "user", "content": f"Question {index}?"}])
        await api.parts.flush(5.0)
        groups = [d.group for d in await api.parts.buffer.read(1_000, 0.0) if d.group]
        learnt = [rollout.text for group in groups for rollout in group.rollouts]
        chosen = [orjson.loads(group.prompt)[0]["content"] for group in groups]
        every = [text for question in chosen for text in drawn[question]]
        assert len(groups) > 100
        assert learnt.count(UNSURE) / len(learnt) == pytest.approx(0.8, abs=0.02)
        assert every.count(UNSURE) / len(every) < 0.785  # with those that chose them


async def test_where_learning_rests_votes_go_on_in_waves() -> None:
    async with serving(**GOVERNED) as api:
        trusted(api)
        api.says(*SPLIT)
        vote = await answered(api)
        while vote["rollouts"] == 1:  # until the audit, of four at most
            vote = await answered(api)
        assert (vote["recorded"], vote["reason"]) == (False, "rests")
        assert sizes(api)[-4:] == [2, 2, 4, 8]
        assert len(sizes(api)) <= 7
        await api.parts.flush(2.0)
        assert len(api.parts.reservoir) == 1


async def test_held_out_questions_are_not_drawn_for_the_learner() -> None:
    async with serving(**GOVERNED, gate_holdout=1) as api:
        api.says(*SPLIT)
        assert (await answered(api))["reason"] == "held_out"
        assert sizes(api) == [4, 4, 8]


@pytest.mark.parametrize(
    ("body", "first"),
    [
        ({"n": 9}, 9),
        ({"ratchet": {"rollouts_min": 3}}, 3),
        ({"ratchet": {"confidence": 1.0}}, 16),
        ({"ratchet": {"strategy": "reflect"}}, 16),
        ({"ratchet": {"answer": "text"}}, 16),
        ({"ratchet": {"rollouts": 2}}, 2),
    ],
)
async def test_who_asks_for_more_gets_more(body: dict[str, Any], first: int) -> None:
    async with serving(**GOVERNED) as api:
        api.says(UNSURE)
        await answered(api, **body)
        await api.parts.flush(2.0)
        assert sizes(api)[0] == first


async def test_a_deadline_answers_with_half_of_what_was_asked_for() -> None:
    async with serving(**GOVERNED) as api:
        api.says(UNSURE)
        api.hold_back(2, 3)  # of the first four
        vote = await answered(api, ratchet={"deadline": 0.1})
        assert (vote["rollouts"], vote["recorded"], vote["reason"]) == (2, False, "partial")


async def test_a_canary_is_shown_pairs() -> None:
    async with serving(**GOVERNED) as api:
        trusted(api)
        api.says(UNSURE)
        api.parts.policy.add(1, "v1")
        api.parts.policy.begin_canary(1, 0.0)
        assert [(await answered(api))["rollouts"] for _ in range(8)] == [2] * 8


@pytest.mark.parametrize(("text", "known", "others"), [
    (UNSURE, False, [3, 4]),
    (SURE, True, []),
])  # fmt: skip
async def test_a_streamed_first_rollout_is_one_of_the_wave(
    text: str, known: bool, others: list[int]
) -> None:
    async with serving(**GOVERNED) as api:
        if known:
            trusted(api)
            api.parts.governor.plan(SLICES, 16, 0.99)
        api.says(text)
        reply = await api.chat(stream=True, ratchet={"stream": "first"})
        assert reply.text.endswith("data: [DONE]\n\n")
        await api.parts.flush(2.0)
        drawn = [request["n"] for request in api.engine.requests if "n" in request]
        assert drawn in (others, [1])  # [1]: an audit
        assert api.at_rest


async def test_what_answers_cost_is_counted() -> None:
    async with serving(**GOVERNED) as api:
        api.says(SURE)
        await answered(api)
        await api.parts.flush(2.0)
        exposed = api.parts.metrics.expose().decode()
        assert "ratchet_answered_tokens_total 1.0" in exposed
        assert "ratchet_completion_tokens_total 4.0" in exposed


async def test_a_spent_budget_makes_votes_small_and_learning_rest() -> None:
    async with serving(**GOVERNED, budget=8.0) as api:
        api.says(*SPLIT, UNSURE, UNSURE)
        api.parts.spending.generated(8 * 1_024)
        vote = await answered(api)
        assert (vote["rollouts"], vote["answer"], vote["reason"]) == (4, "4", "rests")
        vote = await answered(api, ratchet={"rollouts": 8})  # who asks for them gets them
        assert vote["rollouts"] == 8


async def test_the_governor_learns_where_votes_are_small() -> None:
    """Where there are no more than a first wave has."""
    async with serving(**{**GOVERNED, "rollouts": 4}) as api:
        api.says(UNSURE)
        assert (await answered(api))["reason"] == "agreed"
        api.says(*SPLIT, UNSURE, UNSURE)
        assert (await answered(api))["recorded"] is True
        await api.parts.flush(2.0)
        assert api.parts.governor.split(SLICES[0]) == pytest.approx(0.25, abs=0.02)


class Failing:
    """An engine of which so many replies break off after so many rollouts."""

    def __init__(self, api: Api, breaks: int, after: int) -> None:
        self.api, self.breaks, self.after, self.draw = api, breaks, after, api.engine.draw
        api.engine.draw = self.broken  # type: ignore[method-assign]

    @asynccontextmanager
    async def broken(self, request: EngineRequest) -> AsyncIterator[Any]:
        async with self.draw(request) as batches:
            yield self._some(request, batches)

    async def _some(self, request: EngineRequest, batches: Any) -> AsyncIterator[Any]:
        async for batch in batches:
            if self.breaks and request.options["n"] > self.after:
                self.breaks -= 1
                yield batch[: self.after]
                raise EngineUnavailable("gone")
            yield batch


async def test_what_is_lost_of_the_learners_rollouts_is_drawn_again() -> None:
    async with serving(**GOVERNED) as api:
        Failing(api, breaks=1, after=5)
        api.says(*SPLIT)
        await answered(api)
        assert sizes(api) == [4, 12, 7]
        assert len((await api.group()).rollouts) == 12


async def test_what_is_lost_of_a_first_wave_is_drawn_again() -> None:
    async with serving(**GOVERNED) as api:
        Failing(api, breaks=1, after=1)
        api.says(UNSURE)
        await answered(api)
        await api.parts.flush(2.0)
        assert sizes(api) == [4, 3, 4]


async def test_the_learners_rollouts_are_not_missed_at_a_deadline() -> None:
    async with serving(**GOVERNED) as api:
        api.says(*SPLIT)
        api.hold_back(*range(4, 12))  # of the twelve for the learner
        vote = await answered(api, ratchet={"deadline": 0.2})
        assert (vote["rollouts"], vote["recorded"], vote["reason"]) == (8, False, "partial")
