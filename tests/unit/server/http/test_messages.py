"""`/v1/messages` over HTTP: voted, whole and streamed, as the `anthropic` client reads it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import orjson
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import ErrorResponse, Message, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter

from rewards.rollouts import ToolCall
from server.api.tenants import add_key
from server.engine.base import EngineReplyInvalid, EngineTimeout, EngineUnavailable
from server.engine.scripted import Spoken
from server.http.app import create_app
from tests.serving import TEXTS, Api, events_of, serving, until

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL: Any = {"name": "weather", "description": "d", "input_schema": SCHEMA}
CALLING = Spoken("Let me see.", [ToolCall("weather", '{"city":"Rome"}')], reasoning="hm")
HOW = [{}, {"ratchet": {"stream": "first"}}, {"ratchet": {"rollouts": 1}}]
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


class Weather(BaseModel):
    city: str


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncAnthropic]:
    transport = httpx2.ASGITransport(create_app(api.parts))  # type: ignore[arg-type]
    http = httpx2.AsyncClient(transport=transport)
    async with AsyncAnthropic(base_url="http://t", api_key="x", http_client=http) as made:
        yield made


async def ask(api: Api, **body: Any) -> httpx.Response:
    asked = {"model": "ratchet", "max_tokens": 48,
             "messages": [{"role": "user", "content": "What is 2+2?"}], **body}  # fmt: skip
    return await api.client.post("/v1/messages", json=asked)


def checked(text: str) -> list[Any]:
    """The events of a stream, if the client's own types take them strictly."""
    events = events_of(text)
    names = [line[7:] for line in text.splitlines() if line.startswith("event: ")]
    assert names == [event["type"] for event in events]
    for event in events:
        if event["type"] not in ("ping", "error"):
            EVENT.validate_json(orjson.dumps(event), strict=True)
    return events


async def test_a_voted_reply(api: Api) -> None:
    reply = await ask(api, system=[{"type": "text", "text": "Be brief."}], temperature=0)
    body = reply.json()
    Message.model_validate_json(reply.content, strict=True)
    assert body["content"] == [{"type": "text", "text": r"\boxed{4}"}]
    assert (body["role"], body["stop_reason"], body["stop_sequence"]) == (
        "assistant", "end_turn", None,
    )  # fmt: skip
    assert (body["usage"]["input_tokens"], body["usage"]["output_tokens"]) == (
        1, sum(map(len, TEXTS)),
    )  # fmt: skip
    assert (body["ratchet"]["answer"], body["ratchet"]["recorded"]) == ("4", True)
    assert reply.headers["request-id"] == reply.headers["x-request-id"]
    [asked] = api.engine.requests
    assert [message["content"] for message in asked["messages"]] == ["Be brief.", "What is 2+2?"]
    assert (asked["max_completion_tokens"], asked["temperature"], asked["n"]) == (48, 1.0, 4)
    told = {"completion_id": body["id"], "correct": True}
    assert (await api.client.post("/v1/feedback", json=told)).json()["correct"] is True
    assert await api.recorded() == 1


async def test_what_the_engine_gets(api: Api) -> None:
    await ask(
        api, tools=[TOOL], tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["x"], top_k=5, top_p=0.5, temperature=0.3,
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        thinking={"type": "enabled", "budget_tokens": 1024}, ratchet={"rollouts": 1},
    )  # fmt: skip
    [asked] = api.engine.requests
    function = {"name": "weather", "description": "d", "parameters": SCHEMA}
    assert asked["tools"] == [{"type": "function", "function": function}]
    assert (asked["tool_choice"], asked["parallel_tool_calls"]) == ("required", False)
    assert asked["response_format"]["json_schema"]["schema"] == SCHEMA
    assert (asked["stop"], asked["top_k"], asked["top_p"], asked["temperature"]) == (
        ["x"], 5, 0.5, 0.3,
    )  # fmt: skip
    assert asked["reasoning_effort"] == "low"
    assert asked["chat_template_kwargs"] == {"enable_thinking": True}
    await ask(api, thinking={"type": "disabled"})
    assert api.engine.requests[-1]["reasoning_effort"] == "none"


@pytest.mark.parametrize("how", HOW)
async def test_a_stream_has_every_event_in_order(api: Api, how: dict[str, Any]) -> None:
    api.says(CALLING)
    events = checked((await ask(api, stream=True, tools=[TOOL], **how)).text)
    kinds = [event["type"] for event in events]
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind] == [
        "message_start", *block, *block, *block, "message_delta", "message_stop",
    ]  # fmt: skip
    started = [event["content_block"]["type"] for event in events if "content_block" in event]
    assert started == ["thinking", "text", "tool_use"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    for kind, field, text in (
        ("thinking_delta", "thinking", "hm"), ("text_delta", "text", "Let me see."),
        ("input_json_delta", "partial_json", '{"city":"Rome"}'),
    ):  # fmt: skip
        assert "".join(delta[field] for delta in deltas if delta["type"] == kind) == text
    assert [bool(d["signature"]) for d in deltas if d["type"] == "signature_delta"] == [True]
    first, last = events[0]["message"], events[-2]
    assert (first["content"], first["stop_reason"]) == ([], None)
    assert last["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert last["usage"]["output_tokens"] > 0
    # Every rollout thinks two tokens.
    assert last["usage"]["output_tokens_details"]["thinking_tokens"] == (8 if how != HOW[2] else 2)
    assert last["ratchet"]["kind"] == ("tool_calls" if how != HOW[2] else None)
    if how != HOW[1]:
        assert first["usage"]["input_tokens"] == 1


@pytest.mark.parametrize(
    ("spoken", "reason", "sequence"),
    [
        (Spoken("4", finish_reason="length"), "max_tokens", None),
        (Spoken("4", finish_reason="content_filter"), "refusal", None),
        (Spoken("4", finish_reason="strange"), "end_turn", None),
        (Spoken(calls=[ToolCall("weather", "{}")], finish_reason="stop"), "tool_use", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_why_it_stopped(
    api: Api, spoken: Spoken, reason: str, sequence: str | None, stream: bool
) -> None:
    api.says(spoken)
    reply = await ask(api, stream=stream, tools=[TOOL], ratchet={"rollouts": 1})
    ended = checked(reply.text)[-2]["delta"] if stream else reply.json()
    assert (ended["stop_reason"], ended["stop_sequence"]) == (reason, sequence)


async def test_arguments_that_are_no_object_are_an_empty_input(api: Api) -> None:
    api.says(Spoken(calls=[ToolCall("weather", '{"city":')]))
    body = (await ask(api, tools=[TOOL])).json()
    assert body["content"][0]["input"] == {}
    Message.model_validate(body)


async def test_the_client_s_own_reading(api: Api, client: AsyncAnthropic) -> None:
    asked: Any = [{"role": "user", "content": "How is the weather in Rome?"}]
    api.says(CALLING)
    called = await client.messages.create(
        model="ratchet", max_tokens=48, messages=asked, tools=[TOOL]
    )
    thought, said, call = called.content
    assert (thought.thinking, said.text, call.input) == ("hm", "Let me see.", {"city": "Rome"})
    assert (called.stop_reason, called._request_id[:4]) == ("tool_use", "req_")  # noqa: SLF001
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "20"}
    history: Any = [*asked, {"role": "assistant", "content": called.content},
                    {"role": "user", "content": [result]}]  # fmt: skip
    api.says("It is 20 degrees.")
    again = await client.messages.create(
        model="ratchet", max_tokens=48, messages=history, tools=[TOOL]
    )
    assert again.content[0].text == "It is 20 degrees."
    sent = api.engine.requests[-1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert (sent[1]["reasoning"], sent[2]["tool_call_id"]) == ("hm", "call_0")


@pytest.mark.parametrize("how", HOW)
async def test_the_client_s_stream_and_parse(
    api: Api, client: AsyncAnthropic, how: dict[str, Any]
) -> None:
    asked: Any = [{"role": "user", "content": "Where?"}]
    api.says(CALLING)
    async with client.messages.stream(
        model="ratchet", max_tokens=48, messages=asked, tools=[TOOL], extra_body=how
    ) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert (text, final.content[-1].input) == ("Let me see.", {"city": "Rome"})
    assert (final.stop_reason, final.usage.input_tokens) == ("tool_use", 1)
    api.says('{"city": "Rome"}')
    parsed = await client.messages.parse(
        model="ratchet", max_tokens=48, messages=asked, output_format=Weather, extra_body=how
    )
    assert parsed.parsed_output == Weather(city="Rome")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"messages": []}, "messages"), ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"), ({"system": 5}, "system"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "image"),
        ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, "web_search_20250305"),
        ({"tools": [{"name": "f"}]}, "input_schema"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"stop_sequences": ["a"] * 5}, "stop_sequences"),
        ({"thinking": {"type": "deep"}}, "thinking"), ({"container": "c"}, "container"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"), ({"n": 2}, "n"),
        ({"ratchet": {"rollouts": 65}}, "ratchet.rollouts"),
    ],
)  # fmt: skip
async def test_a_client_s_mistake_is_a_400_that_names_the_field(
    api: Api, body: dict[str, Any], word: str
) -> None:
    reply = await ask(api, **body)
    told = reply.json()
    ErrorResponse.model_validate_json(reply.content, strict=True)
    assert (reply.status_code, told["error"]["type"]) == (400, "invalid_request_error")
    assert word in told["error"]["message"]
    assert told["request_id"] == reply.headers["request-id"]
    assert api.engine.requests == []


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [(EngineUnavailable("x"), 503, "overloaded_error"), (EngineTimeout("x"), 504, "timeout_error"),
     (EngineReplyInvalid("x"), 502, "api_error")],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_engine_faults(api: Api, fault: Any, status: int, kind: str, stream: bool) -> None:
    api.engine.fault = fault
    reply = await ask(api, stream=stream)
    ErrorResponse.model_validate_json(reply.content, strict=True)
    assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)
    assert ("retry-after" in reply.headers) == (status == 503)
    assert api.at_rest


async def test_a_failure_in_mid_stream_is_an_error_event(api: Api, client: AsyncAnthropic) -> None:
    api.hold_back(0)
    answering = asyncio.create_task(ask(api, stream=True, ratchet={"rollouts": 1}))
    await until(lambda: api.engine.under_way)
    api.engine.fault = EngineUnavailable("gone")
    api.let_go(0)
    events = checked((await answering).text)
    assert events[-1]["error"]["type"] == "overloaded_error"
    assert "message_stop" not in {event["type"] for event in events}


async def test_progress_rides_on_pings() -> None:
    async with serving() as api:
        api.hold_back(3)
        asking = asyncio.create_task(ask(api, stream=True, ratchet={"stream": "progress"}))
        await until(lambda: api.engine.under_way)
        await asyncio.wait([asking], timeout=0.05)
        api.let_go(3)
        start, ping, *_ = checked((await asking).text)
        assert start["type"] == "message_start"
        assert (ping["type"], ping["ratchet"]["rollouts"]) == ("ping", 3)


async def test_keys_by_either_header_and_errors_in_one_shape(tmp_path: Path) -> None:
    keys = tmp_path / "keys.jsonl"
    key = add_key(keys, "ada", requests_per_minute=2)
    async with serving(keys_file=keys, max_body_bytes=1000) as api:
        refused = await ask(api)
        assert (refused.status_code, refused.json()["error"]["type"]) == (
            401, "authentication_error",
        )  # fmt: skip
        assert refused.json()["request_id"] == refused.headers["request-id"]
        for header in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}):
            api.client.headers = httpx.Headers(header)
            assert (await ask(api)).status_code == 200
        large = await api.client.post("/v1/messages", content=b"x" * 1001)
        assert (large.status_code, large.json()["error"]["type"]) == (413, "request_too_large")
        missing = await api.client.get("/v1/messages/batches")
        assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
        over = await ask(api)
        assert (over.status_code, over.json()["error"]["type"]) == (429, "rate_limit_error")
        assert "retry-after" in over.headers


async def test_tokens_are_counted_by_the_engine(api: Api, client: AsyncAnthropic) -> None:
    counted = await client.messages.count_tokens(
        model="ratchet", messages=[{"role": "user", "content": "2+2?"}], system="Be brief.",
        tools=[TOOL], thinking={"type": "disabled"},
    )  # fmt: skip
    [asked] = api.engine.requests
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"},
    ]  # fmt: skip
    assert counted.input_tokens == len(orjson.dumps(asked["messages"]))
    assert asked["tools"][0]["function"]["name"] == "weather"
    assert asked["chat_template_kwargs"] == {"reasoning_effort": "none", "enable_thinking": False}
    body = {"model": "ratchet", "messages": [], "max_tokens": 5}
    refused = await api.client.post("/v1/messages/count_tokens", json=body)
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_errors_by_the_client_s_own_classes(api: Api, client: AsyncAnthropic) -> None:
    asked: Any = [{"role": "user", "content": "2+2?"}]
    with pytest.raises(anthropic.NotFoundError) as caught:
        await client.messages.create(model="claude", max_tokens=5, messages=asked)
    assert caught.value.request_id is not None
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        await client.messages.create(model="ratchet", max_tokens=-1, messages=asked)


async def test_hints_and_betas_change_nothing(api: Api) -> None:
    hints: dict[str, Any] = {
        "metadata": {"user_id": "u"}, "service_tier": "auto", "container": None,
        "cache_control": {"type": "ephemeral"}, "inference_geo": None, "speed": "standard",
        "tools": [],
        "thinking": {"type": "adaptive"}, "context_management": {"edits": []},
    }  # fmt: skip
    api.client.headers = httpx.Headers({"anthropic-version": "2023-06-01", "anthropic-beta": "x"})
    body = (await ask(api, **hints)).json()
    assert (body["ratchet"]["answer"], body["ratchet"]["recorded"]) == ("4", True)
    assert (await api.group()).client == "u"
