"""`/v1/responses` over HTTP: voted, whole and streamed, as the `openai` client reads it."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest
from openai import AsyncOpenAI, BadRequestError
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from rewards.rollouts import ToolCall
from server.engine.base import EngineUnavailable
from server.engine.scripted import Spoken
from tests.serving import PROSE, TEXTS, Api, events_of, serving, until

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL: Any = {"type": "function", "name": "weather", "strict": False, "parameters": SCHEMA}
CALLING = Spoken("Let me see.", [ToolCall("weather", '{"city":"Rome"}')], reasoning="hm")
HOW = [{}, {"ratchet": {"stream": "first"}}, {"ratchet": {"rollouts": 1}}]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


class Weather(BaseModel):
    city: str


async def ask(api: Api, **body: Any) -> httpx.Response:
    return await api.client.post(
        "/v1/responses", json={"model": "ratchet", "input": "What is 2+2?", **body}
    )


def checked(events: list[Any]) -> list[Any]:
    """The events, if the client's own types take them strictly and they are numbered in order."""
    for event in events:
        EVENT.validate_json(orjson.dumps(event), strict=True)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


async def test_a_voted_reply(api: Api) -> None:
    reply = await ask(api, instructions="Be brief.", metadata={"a": "b"}, temperature=0)
    body = reply.json()
    Response.model_validate_json(reply.content, strict=True)
    [message] = body["output"]
    assert message["content"] == [
        {"type": "output_text", "text": r"\boxed{4}", "annotations": [], "logprobs": []}
    ]
    assert (body["status"], message["status"], body["metadata"]) == (
        "completed", "completed", {"a": "b"},
    )  # fmt: skip
    assert body["usage"] == {
        "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": sum(map(len, TEXTS)), "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 1 + sum(map(len, TEXTS)),
    }  # fmt: skip
    assert (body["ratchet"]["answer"], body["ratchet"]["recorded"]) == ("4", True)
    assert reply.headers["x-request-id"].startswith("req_")
    [asked] = api.engine.requests
    assert [message["content"] for message in asked["messages"]] == ["Be brief.", "What is 2+2?"]
    assert (asked["temperature"], asked["n"]) == (1.0, 4)
    told = {"completion_id": body["id"], "label": "4"}
    assert (await api.client.post("/v1/feedback", json=told)).json()["correct"] is True
    assert await api.recorded() == 1


async def test_what_the_engine_gets(api: Api) -> None:
    shape = {"type": "json_schema", "name": "w", "schema": {"type": "object"}, "strict": True}
    await ask(
        api, tools=[TOOL], tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False, text={"format": shape, "verbosity": "low"},
        reasoning={"effort": "low", "summary": "auto"}, max_output_tokens=7, top_p=0.5,
        ratchet={"rollouts": 1},
    )  # fmt: skip
    [asked] = api.engine.requests
    function = {key: value for key, value in TOOL.items() if key != "type"}
    assert asked["tools"] == [{"type": "function", "function": function}]
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert asked["response_format"]["json_schema"] == {
        "name": "w", "schema": {"type": "object"}, "strict": True,
    }  # fmt: skip
    assert (asked["parallel_tool_calls"], asked["reasoning_effort"]) == (False, "low")
    assert (asked["max_completion_tokens"], asked["top_p"]) == (7, 0.5)


@pytest.mark.parametrize("how", HOW)
async def test_a_stream_has_every_event_in_order(api: Api, how: dict[str, Any]) -> None:
    api.says(CALLING)
    reply = await ask(api, stream=True, tools=[TOOL], **how)
    assert reply.headers["content-type"].startswith("text/event-stream")
    lines = [line[7:] for line in reply.text.splitlines() if line.startswith("event: ")]
    events = checked(events_of(reply.text))
    assert lines == [event["type"] for event in events]
    kinds = [kind for at, kind in enumerate(lines) if at == 0 or lines[at - 1] != kind]
    assert kinds == [f"response.{kind}" for kind in (
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta",
        "reasoning_text.done", "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
        "completed",
    )]  # fmt: skip
    whole = events[-1]["response"]
    thought, said, called = whole["output"]
    assert (thought["type"], thought["content"][0]["text"]) == ("reasoning", "hm")
    assert said["content"][0]["text"] == "Let me see."
    assert (called["name"], called["arguments"]) == ("weather", '{"city":"Rome"}')
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == whole["output"]
    for kind, text in (
        ("output_text", "Let me see."), ("reasoning_text", "hm"),
        ("function_call_arguments", '{"city":"Rome"}'),
    ):  # fmt: skip
        deltas = [e["delta"] for e in events if e["type"] == f"response.{kind}.delta"]
        assert "".join(deltas) == text
    assert {event["response"]["id"] for event in events if "response" in event} == {whole["id"]}
    assert whole["ratchet"]["kind"] == ("tool_calls" if how != HOW[2] else None)
    assert whole["usage"]["output_tokens"] > 0
    # Every rollout thinks two tokens.
    assert whole["usage"]["output_tokens_details"]["reasoning_tokens"] == (
        8 if how != HOW[2] else 2
    )


async def test_a_reply_that_is_cut_short_is_incomplete(api: Api) -> None:
    api.says(Spoken("It is", finish_reason="length"))
    body = (await ask(api)).json()
    assert (body["status"], body["output"][0]["status"]) == ("incomplete", "incomplete")
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    last = checked(events_of((await ask(api, stream=True)).text))[-1]
    assert (last["type"], last["response"]["output"][0]["status"]) == (
        "response.incomplete", "incomplete",
    )  # fmt: skip


async def test_log_probabilities_of_the_text(api: Api) -> None:
    body = (await ask(api, include=["message.output_text.logprobs"], top_logprobs=2)).json()
    Response.model_validate_json(orjson.dumps(body), strict=True)
    tokens = body["output"][0]["content"][0]["logprobs"]
    assert "".join(token["token"] for token in tokens) == r"\boxed{4}"
    assert [(top["token"], top["bytes"]) for top in tokens[0]["top_logprobs"]] == [
        ("\\", [92]), ("?", [63]),
    ]  # fmt: skip
    events = checked(events_of((await ask(api, top_logprobs=1, stream=True)).text))
    [delta] = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [len(token["top_logprobs"]) for token in delta["logprobs"]] == [1] * 9


async def test_the_client_s_own_reading(api: Api, client: AsyncOpenAI) -> None:
    reply = await client.responses.create(model="ratchet", input="What is 2+2?")
    assert (reply.output_text, reply.model_extra["ratchet"]["agreement"]) == (r"\boxed{4}", 0.5)
    api.says(CALLING)
    asked = [{"role": "user", "content": "How is the weather in Rome?"}]
    called = await client.responses.create(model="ratchet", input=asked, tools=[TOOL])
    call = called.output[-1]
    assert (call.type, call.call_id) == ("function_call", "call_0")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "20"}
    api.says("It is 20 degrees.")
    history: Any = [*asked, *called.output, output]
    again = await client.responses.create(model="ratchet", input=history, tools=[TOOL])
    assert again.output_text == "It is 20 degrees."
    sent = api.engine.requests[-1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert (sent[1]["reasoning"], sent[1]["content"]) == ("hm", "Let me see.")


@pytest.mark.parametrize("how", HOW)
async def test_the_client_s_stream_and_parse(
    api: Api, client: AsyncOpenAI, how: dict[str, Any]
) -> None:
    api.says('{"city": "Rome"}')
    async with client.responses.stream(
        model="ratchet", input="Where?", text_format=Weather, extra_body=how
    ) as stream:
        text = "".join([e.delta async for e in stream if e.type == "response.output_text.delta"])
        final = await stream.get_final_response()
    assert (text, final.output_parsed) == ('{"city": "Rome"}', Weather(city="Rome"))
    parsed = await client.responses.parse(
        model="ratchet", input="Where?", text_format=Weather, extra_body=how
    )
    assert parsed.output_parsed == Weather(city="Rome")
    assert api.engine.requests[0]["response_format"]["json_schema"]["name"] == "Weather"


@pytest.mark.parametrize(
    ("body", "reason"),
    [({"store": False}, "opted_out"), ({"ratchet": {"train": False}}, "opted_out"),
     ({"model": "ratchet@base"}, "pinned_version"), ({"top_p": 0.9}, "truncated_sampling"),
     ({"ratchet": {"rollouts": 1}}, "single")],
)  # fmt: skip
async def test_what_stays_out_of_the_buffer(api: Api, body: dict[str, Any], reason: str) -> None:
    extension = (await ask(api, **body)).json()["ratchet"]
    assert (extension["recorded"], extension["reason"]) == (False, reason)
    assert await api.recorded() == 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"), ({"input": 5}, "input"), ({"input": [5]}, "input.0"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content.0"),
        ({"tools": [{"type": "web_search"}]}, "tools.0"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tool_choice": "required"}, "tool_choice"), ({"tool_choice": "any"}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"max_output_tokens": 0}, "max_output_tokens"), ({"temperature": 3}, "temperature"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "c"}}, "conversation"),
        ({"background": True}, "background"), ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"n": 2}, "n"), ({"messages": []}, "messages"),
        ({"ratchet": {"rollouts": 65}}, "ratchet.rollouts"),
        ({"ratchet": {"answer": "guess"}}, "ratchet.answer"),
    ],
)  # fmt: skip
async def test_a_client_s_mistake_is_a_400_that_names_the_field(
    api: Api, body: dict[str, Any], param: str
) -> None:
    reply = await ask(api, **body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["type"]) == (
        400, param, "invalid_request_error",
    )  # fmt: skip
    assert api.engine.requests == []


async def test_hints_and_defaults_change_nothing(api: Api) -> None:
    hints: dict[str, Any] = {
        "background": False, "conversation": None, "previous_response_id": None, "prompt": None,
        "service_tier": "auto", "prompt_cache_key": "k", "prompt_cache_retention": "24h",
        "safety_identifier": "s", "truncation": "auto", "max_tool_calls": 3, "include": [],
        "stream_options": {"include_obfuscation": False}, "tools": [], "tool_choice": "auto",
        "reasoning": None, "text": {}, "store": True, "metadata": None, "user": None,
    }  # fmt: skip
    body = (await ask(api, **hints)).json()
    assert (body["ratchet"]["answer"], body["ratchet"]["recorded"]) == ("4", True)


async def test_errors_by_the_client_s_own_classes(api: Api, client: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError, match="previous_response_id"):
        await client.responses.create(model="ratchet", input="x", previous_response_id="resp_1")


async def test_a_failure_in_mid_stream_is_told_by_events_and_never_complete(api: Api) -> None:
    api.hold_back(0)
    answering = asyncio.create_task(ask(api, stream=True, ratchet={"rollouts": 1}))
    await until(lambda: api.engine.under_way)
    api.engine.fault = EngineUnavailable("gone")
    api.let_go(0)
    *_, error, failed = checked(events_of((await answering).text))
    assert (error["type"], error["code"]) == ("error", "engine_unavailable")
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"]["code"] == "server_error"
    assert api.at_rest


async def test_a_failure_before_the_first_event_is_a_plain_error(api: Api) -> None:
    api.engine.fault = EngineUnavailable("gone")
    reply = await ask(api, stream=True)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_unavailable")


async def test_progress_rides_on_the_response_in_progress() -> None:
    async with serving() as api:
        api.hold_back(3)
        asking = asyncio.create_task(ask(api, stream=True, ratchet={"stream": "progress"}))
        await until(lambda: api.engine.under_way)
        await asyncio.wait([asking], timeout=0.05)
        api.let_go(3)
        events = checked(events_of((await asking).text))
        assert [event["type"] for event in events][:3] == [
            "response.created", "response.in_progress", "response.in_progress",
        ]  # fmt: skip
        assert events[2]["response"]["ratchet"]["rollouts"] == 3
        assert events[-1]["response"]["ratchet"]["rollouts"] == 4


async def test_prose_is_served_by_the_medoid(api: Api) -> None:
    api.says(PROSE)
    body = (await ask(api)).json()
    assert (body["ratchet"]["reason"], body["output"][0]["content"][0]["text"]) == ("medoid", PROSE)
