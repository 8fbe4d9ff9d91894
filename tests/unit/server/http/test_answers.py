"""Kinds of answers over HTTP: which one a request gets, what is served, what is recorded."""

import asyncio
from typing import Any

import pytest

from rewards.answer_choice import AnswerChoice
from server.engine.scripted import Spoken
from tests.serving import PROSE, TEXTS, serving, until


@pytest.mark.parametrize(
    ("text", "kind"),
    [(r"\boxed{4}", "math"), ("Tokyo", "short"), ('{"a": 1}', "json"), ("(B)", "choice")],
)
async def test_auto_names_the_kind_of_what_won(text: str, kind: str) -> None:
    async with serving() as api:
        api.says(text)
        body = (await api.chat()).json()["ratchet"]
        assert (body["kind"], body["agreement"], body["recorded"]) == (kind, 1.0, True)
        assert (await api.group()).answer == AnswerChoice("auto")


async def test_a_client_s_options_are_voted_on_and_named_in_the_group() -> None:
    async with serving() as api:
        api.says("I'd call it positive.", "3. Negative", "It is positive, plainly.", PROSE)
        choice = {"kind": "choice", "options": ["positive", "negative"]}
        body = (await api.chat(ratchet={"answer": choice})).json()["ratchet"]
        assert (body["kind"], body["answer"]) == ("choice", "positive")
        assert body["distribution"] == {"positive": 0.5, "negative": 0.25}
        group = await api.group()
        assert group.answer == AnswerChoice("choice", options=("positive", "negative"))
        [query] = api.parts.reservoir.draw(5)
        assert query.answer == group.answer


async def test_a_pattern_and_the_server_s_default() -> None:
    async with serving(answer={"kind": "pattern", "pattern": r"Ticket (\w+)"}) as api:
        api.says("Ticket A7, I think, and nothing else.", "So: Ticket A7!", "Ticket B2")
        assert (await api.chat()).json()["ratchet"]["answer"] == "A7"
        asked = (await api.text(ratchet={"answer": "short"})).json()["ratchet"]
        assert (asked["kind"], asked["answer"]) == ("short", None)


@pytest.mark.parametrize(
    ("answer", "param"),
    [
        ("telepathy", "ratchet.answer"),
        ("pattern", "ratchet.answer.pattern"),
        ({"kind": "pattern", "pattern": "("}, "ratchet.answer.pattern"),
        ({"kind": "pattern", "pattern": "a+"}, "ratchet.answer.pattern"),
        ({"kind": "pattern", "pattern": r"(a)\1"}, "ratchet.answer.pattern"),
        ({"kind": "choice", "options": ["yes", "yes"]}, "ratchet.answer.options"),
        ({"kind": "choice", "options": ["yes", "**Yes** "]}, "ratchet.answer.options"),
        ({"kind": "choice", "options": []}, "ratchet.answer.options"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_kind_that_cannot_be_is_a_400(answer: Any, param: str, stream: bool) -> None:
    async with serving() as api:
        reply = await api.chat(ratchet={"answer": answer}, stream=stream)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
        assert api.engine.requests == []


async def test_nothing_is_an_answer_that_one_rollout_gave() -> None:
    async with serving() as api:
        api.says("Rome", "Oslo", PROSE, PROSE + " Really.")
        for reply in (await api.chat(), await api.text()):
            extension = reply.json()["ratchet"]
            assert (extension["answer"], extension["reason"]) == (None, "no_consensus")
            assert (extension["kind"], extension["recorded"]) == ("short", False)


async def test_prose_is_served_by_the_medoid() -> None:
    async with serving() as api:
        middle = "The letter was sent to you on Monday by ship from Genoa."
        api.says(
            "Bananas are yellow and grow on trees in warm countries, mostly.",
            middle + " It is late.",
            middle,
            "The letter was sent on Monday by ship, from Genoa.",
        )
        for answer in ("auto", "text"):
            body = (await api.chat(ratchet={"answer": answer})).json()
            assert body["choices"][0]["message"]["content"] == middle
            extension = body["ratchet"]
            assert (extension["answer"], extension["kind"]) == (None, "text")
            assert (extension["reason"], extension["recorded"]) == ("medoid", False)
            assert extension["distribution"] == {}
        assert await api.recorded() == 0


async def test_a_rollout_that_was_cut_short_is_not_the_medoid() -> None:
    async with serving() as api:
        cut = Spoken("The ship leaves Genoa at noon and goes on to", finish_reason="length")
        whole = "The ship leaves Genoa at noon and goes on to Naples."
        api.says(cut, cut, cut, whole)
        assert (await api.chat()).json()["choices"][0]["message"]["content"] == whole


async def test_a_vote_without_support_is_not_decided_early() -> None:
    async with serving(rollouts=16, vote_support=0.5) as api:
        api.says(*["Rome"] * 7, *[PROSE] * 5, *["Rome"] * 4)
        api.hold_back(12, 13, 14, 15)
        asking = asyncio.create_task(api.chat())
        await until(lambda: api.engine.under_way)
        await asyncio.wait([asking], timeout=0.05)
        assert not asking.done()  # seven of sixteen cannot be overtaken, and are too few
        api.let_go(12)
        assert (await asking).json()["ratchet"]["answer"] == "Rome"
        api.let_go(13, 14, 15)


async def test_confidence_is_no_substitute_for_support() -> None:
    async with serving(rollouts=8, rollouts_min=1, vote_confidence=0.6) as api:
        api.says("Antananarivo")  # not likely enough to need no other
        assert (await api.chat(store=False)).json()["ratchet"]["rollouts"] == 2


async def test_two_that_agree_by_chance_are_no_majority_of_many() -> None:
    async with serving(rollouts=32) as api:
        api.says("Rome", *(f"City{n}" for n in "ABCDEFGHIJKLMNO"))  # each twice
        body = (await api.chat()).json()["ratchet"]
        assert (body["answer"], body["reason"]) == (None, "no_consensus")


async def test_one_rollout_and_single_stay_as_they_are() -> None:
    async with serving() as api:
        for ours in ({"rollouts": 1}, {"strategy": "single"}):
            reply = (await api.chat(ratchet=ours)).json()
            assert reply["choices"][0]["message"]["content"] == TEXTS[0]
            assert (reply["ratchet"]["kind"], reply["ratchet"]["reason"]) == (None, "single")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"trainable_kinds": "math,json"}, "kind_not_trained"),
        ({"train_support": 0.8}, "low_agreement"),
    ],
)
async def test_settings_say_what_is_learnt(settings: dict[str, Any], reason: str) -> None:
    async with serving(**settings) as api:
        api.says("Rome", "Rome", "Rome", "Oslo")
        extension = (await api.chat()).json()["ratchet"]
        assert extension["answer"] == "Rome"
        assert (extension["recorded"], extension["reason"]) == (False, reason)
        assert await api.recorded() == 0
        metrics = (await api.client.get("/metrics")).text
        assert f'ratchet_groups_offered_total{{outcome="{reason}"}} 1.0' in metrics
        assert 'ratchet_votes_by_kind_total{kind="short"} 1.0' in metrics


async def test_prose_is_learnt_from_where_the_operator_asks() -> None:
    async with serving(trainable_kinds="text") as api:
        api.says(PROSE, PROSE + " Really.", PROSE + " Not at all.", PROSE)
        extension = (await api.chat()).json()["ratchet"]
        assert (extension["recorded"], extension["reason"]) == (True, "medoid")
        assert (await api.group()).answer == AnswerChoice("text")


async def test_the_live_page_shows_kind_and_reason() -> None:
    async with serving() as api:
        api.says("Rome")
        await api.chat()
        api.says(PROSE)
        await api.chat(seed=1)
        await api.recorded()
        shown = (await api.client.get("/live")).json()["votes"]
        assert [(one["kind"], one["recorded"], one["reason"]) for one in shown] == [
            ("short", True, None), ("text", False, "medoid"),
        ]  # fmt: skip
