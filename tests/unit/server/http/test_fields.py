"""Requests as clients of OpenAI's send them, over HTTP; most are from reports of refusals."""

from typing import Any

import pytest

from tests.serving import Api, serving

REPLY = {"role": "assistant", "content": "hi"}
HINTS: list[dict[str, Any]] = [
    {"reasoning_effort": "low"}, {"reasoning_effort": None}, {"prompt_cache_key": "k"},
    {"prompt_cache_retention": "24h"}, {"prompt_cache_options": {"mode": "explicit"}},
    {"verbosity": "low"}, {"prediction": {"type": "content", "content": "46"}}, {"audio": None},
    {"web_search_options": None}, {"n": None}, {"temperature": None}, {"seed": None},
    {"stop": None}, {"stream": None}, {"stream_options": None}, {"tools": None},
    {"response_format": None}, {"store": None}, {"user": None}, {"service_tier": "auto"},
    {"safety_identifier": "x"}, {"modalities": ["text"]}, {"modalities": None},
    {"metadata": {"a": "b"}}, {"ratchet": None}, {"top_p": 0}, {"moderation": None},
    {"response_format": {"type": "text"}}, {"priority": 3}, {"request_id": "x"},
]  # fmt: skip


@pytest.mark.parametrize("fields", HINTS, ids=lambda fields: "".join(map(str, fields)))
async def test_what_clients_send_along_is_answered_by_a_vote(
    api: Api, fields: dict[str, Any]
) -> None:
    reply = await api.chat(**fields)
    assert reply.status_code == 200
    assert reply.json()["ratchet"]["answer"] == "4"


async def test_hints_do_not_reach_the_engine_and_effort_does(api: Api) -> None:
    await api.chat(service_tier="flex", verbosity="low", priority=-5, reasoning_effort="high")
    [asked] = api.engine.requests
    assert asked.keys() & {"service_tier", "verbosity"} == set()
    assert (asked["priority"], asked["reasoning_effort"]) == (0, "high")


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [
            {"type": "text", "text": "only reply "},
            {"type": "text", "text": "OK", "cache_control": {"type": "ephemeral"}}]}],
        [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        [{"role": "user", "content": "A"}, {**REPLY, "tool_calls": None, "refusal": None,
          "function_call": None, "audio": None, "annotations": []},
         {"role": "user", "content": "hi"}],
        [{"role": "user", "content": "A"},
         {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
         {"role": "user", "content": "hi"}],
        [{"role": "user", "content": "A"},
         {"role": "assistant", "content": [], "tool_calls": [
             {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
         {"role": "tool", "tool_call_id": "c1", "content": "5"}],
        [{"role": "user", "content": "hi", "name": "bob", "id": 1947269257,
          "opts": {"visible": False}}],
    ],
)  # fmt: skip
async def test_messages_of_every_form(api: Api, messages: list[dict[str, Any]]) -> None:
    assert (await api.chat(messages=messages)).status_code == 200


async def test_a_reply_may_be_continued(api: Api) -> None:
    begun = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "12+34="}]
    fields = {"continue_final_message": True, "add_generation_prompt": False}
    assert (await api.chat(messages=begun, **fields)).status_code == 200
    assert api.engine.requests[0].items() >= fields.items()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"moderation": {"model": "omni-moderation-latest"}}, "moderation"),
        ({"kv_transfer_params": {"do_remote_prefill": True}}, "kv_transfer_params"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_would_change_the_answer_is_refused_and_says_why(
    api: Api, fields: dict[str, Any], param: str
) -> None:
    reply = await api.chat(**fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert api.engine.requests == []


async def test_unknown_fields_may_be_ignored() -> None:
    async with serving(unknown_fields="ignore") as api:
        reply = await api.chat(colour="red", ratchet={"rollouts": 2, "colour": "red"})
        assert reply.status_code == 200
        assert api.engine.requests[0]["n"] == 2
        assert "colour" not in api.engine.requests[0]
        assert (await api.chat(audio={"voice": "alloy"})).status_code == 400


async def test_only_the_tools_that_are_allowed_are_offered(api: Api) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in "abc"]
    allowed = {"mode": "required", "tools": [tools[0], tools[2]]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    assert (await api.chat(tools=tools, tool_choice=choice)).status_code == 200
    [asked] = api.engine.requests
    assert asked["tools"] == [tools[0], tools[2]]
    assert asked["tool_choice"] == "required"
