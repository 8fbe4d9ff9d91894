"""Tools and JSON over HTTP: voted, served whole, recorded as sampled, streamed."""

import asyncio
from typing import Any

import orjson
import pytest

from rewards.answer_choice import AnswerChoice
from rewards.rollouts import ToolCall
from server.engine.scripted import Spoken
from tests.serving import PROSE, events_of, serving, until

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
JSON = {"response_format": {"type": "json_object"}}


def calling(city: str, days: int = 1, **more: Any) -> Spoken:
    return Spoken(calls=[ToolCall("weather", f'{{"city":"{city}","days":{days}}}')], **more)


CALLS = [calling("Rome", reasoning="hm"), calling("Oslo"), calling("Rome", 2), calling("Rome")]


async def test_the_reply_is_one_whole_rollout_with_its_calls() -> None:
    async with serving() as api:
        api.says(*CALLS)
        body = (await api.chat(tools=[TOOL])).json()
        [choice] = body["choices"]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"] == {
            "role": "assistant", "content": None, "reasoning": "hm",
            "tool_calls": [{"id": "call_0", "type": "function", "function":
                            {"name": "weather", "arguments": '{"city":"Rome","days":1}'}}],
        }  # fmt: skip
        extension = body["ratchet"]
        assert (extension["kind"], extension["agreement"]) == ("tool_calls", 0.5)
        assert extension["distribution"] == {
            "/weather/0": 1.0, "/weather/0/city": 0.75, "/weather/0/days": 0.75,
        }  # fmt: skip
        assert api.engine.requests[0]["tools"] == [TOOL]
        assert api.engine.requests[0]["n"] == 4


async def test_rollouts_with_calls_are_recorded_as_sampled() -> None:
    async with serving() as api:
        api.says(*CALLS)
        await api.chat(tools=[TOOL])
        group = await api.group()
        assert group.answer == AnswerChoice("tool_calls")
        assert [rollout.calls for rollout in group.rollouts] == [tuple(c.calls) for c in CALLS]
        assert list(group.rollouts[0].token_ids) == list(CALLS[0].written.encode())
        [query] = api.parts.reservoir.draw(5)
        assert query.options == {"tools": [TOOL]}


async def test_to_call_nothing_is_an_answer_and_the_closest_text_is_served() -> None:
    async with serving() as api:
        api.says("Which city?", "Which city do you mean?", "Which city, please?", calling("Rome"))
        body = (await api.chat(tools=[TOOL])).json()
        assert body["choices"][0]["message"]["content"] == "Which city?"
        assert (body["ratchet"]["agreement"], body["ratchet"]["kind"]) == (0.75, "tool_calls")


async def test_calls_whose_arguments_are_no_json_have_no_vote() -> None:
    async with serving() as api:
        broken = Spoken(calls=[ToolCall("weather", '{"city":')])
        api.says(broken, broken, calling("Rome"), calling("Rome"))
        body = (await api.chat(tools=[TOOL])).json()["ratchet"]
        assert (body["valid"], body["agreement"]) == (2, 0.5)


async def test_n_calls_are_returned_best_voted_first() -> None:
    async with serving() as api:
        api.says(*CALLS)
        body = (await api.chat(tools=[TOOL], n=3)).json()
        said = [c["message"]["tool_calls"][0]["function"]["arguments"] for c in body["choices"]]
        assert [orjson.loads(one)["city"] for one in said] == ["Rome", "Rome", "Oslo"]


@pytest.mark.parametrize(
    "body",
    [
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"parallel_tool_calls": False},
    ],
)
async def test_where_a_grammar_bends_the_sampling_nothing_is_learnt(body: dict[str, Any]) -> None:
    async with serving() as api:
        api.says(calling("Rome"))
        extension = (await api.chat(tools=[TOOL], **body)).json()["ratchet"]
        assert (extension["kind"], extension["agreement"]) == ("tool_calls", 1.0)
        assert (extension["recorded"], extension["reason"]) == (False, "grammar")
        assert api.engine.requests[0].items() >= body.items()
        assert await api.recorded() == 0
        metrics = (await api.client.get("/metrics")).text
        assert 'ratchet_groups_offered_total{outcome="grammar"} 1.0' in metrics


async def test_no_tool_may_be_called() -> None:
    async with serving() as api:
        body = (await api.chat(tools=[TOOL], tool_choice="none")).json()["ratchet"]
        assert (body["kind"], body["answer"], body["recorded"]) == ("math", "4", True)


async def test_json_is_voted_by_value_and_shown_by_field() -> None:
    async with serving() as api:
        api.says('{"a": 1, "b": 2}', '```json\n{"b": 2, "a": 1.0}\n```', '{"a": 1}', PROSE)
        body = (await api.chat(**JSON)).json()
        extension = body["ratchet"]
        assert body["choices"][0]["message"]["content"] == '{"a": 1, "b": 2}'
        assert (extension["kind"], extension["valid"], extension["agreement"]) == ("json", 3, 0.5)
        assert extension["distribution"] == {"/a": 0.75, "/b": 0.5}
        assert (extension["recorded"], extension["reason"]) == (False, "grammar")


async def test_where_no_two_agree_the_one_closest_by_field_is_served() -> None:
    async with serving() as api:
        said = ['{"a":1,"b":9,"c":9}', '{"a":1,"b":2,"c":8}', '{"a":1,"b":2,"c":3,"d":0}']
        api.says(*said, '{"a":7,"b":7,"c":3}')
        body = (await api.chat(ratchet={"answer": "json"})).json()
        # Most say a is 1, b 2 and c 3, and none of d: three fields of four.
        assert body["choices"][0]["message"]["content"] == said[2]
        extension = body["ratchet"]
        assert (extension["answer"], extension["reason"]) == (None, "no_consensus")
        assert (extension["kind"], extension["agreement"]) == ("json", 0.25)


async def test_a_format_of_text_means_nothing_special() -> None:
    async with serving() as api:
        body = (await api.chat(response_format={"type": "text"})).json()["ratchet"]
        assert (body["kind"], body["recorded"]) == ("math", True)


async def test_feedback_compares_as_the_vote_did() -> None:
    async with serving() as api:
        api.says(*CALLS)
        completion = (await api.chat(tools=[TOOL])).json()["id"]
        label = '[{"name":"weather","arguments":{"days":1.0,"city":"Rome"}}]'
        told = await api.client.post(
            "/v1/feedback", json={"completion_id": completion, "label": label}
        )
        assert told.json()["correct"] is True


async def test_answers_of_any_length_are_not_kept_for_feedback() -> None:
    async with serving() as api:
        digits = "".join(str(pow(3, n, 1_000_003)) for n in range(5_000))  # loops are no answer
        api.says(f'{{"a": "{digits}"}}')
        reply = (await api.chat(ratchet={"answer": "json"})).json()
        assert reply["ratchet"]["agreement"] == 1.0
        body = {"completion_id": reply["id"], "correct": True}
        assert (await api.client.post("/v1/feedback", json=body)).status_code == 404


async def test_a_stream_of_the_winning_calls() -> None:
    async with serving() as api:
        api.says(*CALLS)
        *chunks, done = events_of((await api.chat(tools=[TOOL], stream=True)).text)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        [call] = [call for delta in deltas for call in delta.get("tool_calls", ())]
        assert (call["index"], call["function"]["name"]) == (0, "weather")
        assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
        assert (chunks[-1]["ratchet"]["kind"], done) == ("tool_calls", "[DONE]")


async def test_progress_shows_the_vote_by_field() -> None:
    async with serving(rollouts=4) as api:
        api.says(*CALLS)
        api.hold_back(3)
        asking = asyncio.create_task(
            api.chat(tools=[TOOL], stream=True, ratchet={"stream": "progress"})
        )
        await until(lambda: api.engine.under_way)
        await asyncio.wait([asking], timeout=0.05)
        api.let_go(3)
        first, *_ = events_of((await asking).text)
        assert first["ratchet"]["distribution"]["/weather/0/city"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("ours", [{}, {"stream": "first"}, {"rollouts": 1}])
@pytest.mark.parametrize("stream", [False, True])
async def test_functions_are_answered_in_their_own_form(ours: dict[str, Any], stream: bool) -> None:
    async with serving() as api:
        api.says(calling("Rome"))
        functions = {"functions": [TOOL["function"]], "function_call": "auto"}
        reply = await api.chat(**functions, stream=stream, ratchet=ours)
        if stream:
            *chunks, _ = events_of(reply.text)
            pieces = [c["choices"][0]["delta"].get("function_call", {}) for c in chunks]
            name, arguments = (
                "".join(one.get(f) or "" for one in pieces) for f in ("name", "arguments")
            )
            ended = chunks[-1]["choices"][0]["finish_reason"]
        else:
            [choice] = reply.json()["choices"]
            assert "tool_calls" not in choice["message"]
            call, ended = choice["message"]["function_call"], choice["finish_reason"]
            name, arguments = call["name"], call["arguments"]
        assert (name, arguments, ended) == ("weather", '{"city":"Rome","days":1}', "function_call")
        assert api.engine.requests[0]["tools"] == [TOOL]
        assert "functions" not in api.engine.requests[0]
