"""The `openai` client against tools and JSON, streamed and whole."""

import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from rewards.rollouts import ToolCall
from server.engine.scripted import Spoken
from tests.serving import Api

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ASKED = [{"role": "user", "content": "What is the weather in Rome?"}]
TWICE = [ToolCall("weather", '{"city": "Rome"}'), ToolCall("weather", '{"city": "Oslo"}')]


class Weather(BaseModel):
    city: str
    days: int


async def test_calls_of_a_whole_reply(api: Api, client: AsyncOpenAI) -> None:
    api.engine.script = lambda _m, _p, n: [Spoken(calls=TWICE)] * n
    reply = await client.chat.completions.create(model="ratchet", messages=ASKED, tools=[TOOL])
    [choice] = reply.choices
    assert choice.finish_reason == "tool_calls"
    assert [call.function.arguments for call in choice.message.tool_calls] == [
        '{"city": "Rome"}', '{"city": "Oslo"}',
    ]  # fmt: skip
    assert reply.model_extra["ratchet"]["kind"] == "tool_calls"
    history = [*ASKED, choice.message, {"role": "tool", "tool_call_id": "call_0", "content": "20"}]
    again = await client.chat.completions.create(model="ratchet", messages=history, tools=[TOOL])
    assert again.choices[0].message.tool_calls is not None


@pytest.mark.parametrize("ours", [{}, {"stream": "first"}, {"stream": "progress"}, {"rollouts": 1}])
async def test_calls_of_a_stream(api: Api, client: AsyncOpenAI, ours: dict[str, object]) -> None:
    said = Spoken("Let me see.", calls=TWICE, reasoning="hm")
    api.engine.script = lambda _m, _p, n: [said] * n
    async with client.chat.completions.stream(
        model="ratchet", messages=ASKED, tools=[TOOL], extra_body={"ratchet": ours}
    ) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_completion()
    message = final.choices[0].message
    assert (message.content, final.choices[0].finish_reason) == ("Let me see.", "tool_calls")
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls] \
        == [(f"call_{at}", call.name, call.arguments) for at, call in enumerate(TWICE)]  # fmt: skip
    assert "tool_calls.function.arguments.done" in kinds


async def test_a_schema_is_parsed_whole_and_streamed(api: Api, client: AsyncOpenAI) -> None:
    said = ['{"city": "Rome", "days": 3}', '{"days":3,"city":"Rome"}',
            '{"city": "Oslo", "days": 3}', "I do not know that."]  # fmt: skip
    api.engine.script = lambda _m, _p, n: said[:n]
    reply = await client.chat.completions.parse(
        model="ratchet", messages=ASKED, response_format=Weather
    )
    assert reply.choices[0].message.parsed == Weather(city="Rome", days=3)
    assert reply.model_extra["ratchet"]["distribution"] == {"/city": 0.5, "/days": 0.75}
    [asked] = api.engine.requests
    assert asked["response_format"]["json_schema"]["name"] == "Weather"
    async with client.chat.completions.stream(
        model="ratchet", messages=ASKED, response_format=Weather
    ) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.parsed == Weather(city="Rome", days=3)


async def test_a_kind_goes_into_extra_body(api: Api, client: AsyncOpenAI) -> None:
    api.engine.script = lambda _m, _p, n: ["Plainly positive.", "negative", "It is positive"][:n]
    choice = {"kind": "choice", "options": ["positive", "negative"]}
    reply = await client.chat.completions.create(
        model="ratchet", messages=ASKED,
        extra_body={"ratchet": {"answer": choice, "rollouts": 3}},
    )  # fmt: skip
    assert reply.model_extra["ratchet"]["answer"] == "positive"
