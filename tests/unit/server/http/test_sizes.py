"""How long what clients send may be, field by field, and what is kept of it."""

import json
import sys
from typing import Any

import pytest

from server.api.field_rules.tables import TABLES
from server.engine.base import size_of
from server.recording.feedback import Answered
from server.recording.feedback_stores import MemoryFeedback
from server.recording.reservoir import Query, Reservoir
from tests.serving import QUESTION, serving, until

LONG = "x" * 200_000
CHAT: dict[str, Any] = {"model": "ratchet", "messages": QUESTION}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def said(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "2+2?", **fields}]}


TOO_LARGE: list[tuple[str, dict[str, Any], str]] = [
    *(("/v1/chat/completions", {**CHAT, **fields}, param) for fields, param in [
        ({"model": LONG}, "model"),
        ({"user": LONG}, "user"),
        ({"stop": LONG}, "stop"),
        ({"stop": ["a", LONG]}, "stop.1"),
        ({"metadata": {"a": LONG}}, "metadata.a"),
        ({"metadata": {str(at): "" for at in range(3_000)}}, "metadata"),
        ({"logit_bias": {str(at): 0 for at in range(30_000)}}, "logit_bias"),
        ({"bad_words": [LONG]}, "bad_words.0"),
        ({"chat_template": LONG}, "chat_template"),
        ({"chat_template_kwargs": {"a": LONG}}, "chat_template_kwargs"),
        ({"vllm_xargs": {"a": LONG}}, "vllm_xargs"),
        ({"structured_outputs": {"regex": LONG}}, "structured_outputs"),
        ({"response_format": {"type": "json_schema", "json_schema": {"a": LONG}}},
         "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "f", "description": LONG * 2}}]},
         "tools"),
        ({"ratchet": {"answer": {"kind": "pattern", "pattern": LONG}}}, "ratchet.answer.pattern"),
        ({"cache_salt": LONG}, "cache_salt"),
        (said(name=LONG), "messages.0.name"),
        (said(role="tool", tool_call_id=LONG), "messages.0.tool_call_id"),
        (said(content=[{"type": "text", "text": ""}] * 9_000), "messages.0.content"),
        (said(role="assistant", tool_calls=[CALL] * 9_000), "messages.0.tool_calls"),
        (said(role="assistant", tool_calls=[{**CALL, "id": LONG}]), "messages.0.tool_calls.0.id"),
        (said(role="assistant", tool_calls=[{"function": {"name": LONG}}]),
         "messages.0.tool_calls.0.function"),
        ({"messages": QUESTION * 9_000}, "messages"),
        ({"documents": [{}] * 9_000}, "documents"),
    ]),
    ("/v1/completions", {"model": "ratchet", "prompt": "a", "suffix": LONG}, "suffix"),
    ("/v1/completions", {"model": "ratchet", "prompt": ["a"] * 9_000}, "prompt"),
    ("/v1/responses", {"model": "ratchet", "input": "a", "user": LONG}, "user"),
    ("/v1/responses", {"model": "ratchet", "input": "a", "stop": LONG}, "stop"),
    ("/v1/responses", {"model": "ratchet", "input": "a", "include": [LONG]}, "include.0"),
    ("/v1/responses", {"model": "ratchet", "input": QUESTION * 9_000}, "input"),
    ("/v1/messages", {**CHAT, "max_tokens": 9, "metadata": {"user_id": LONG}}, "metadata.user_id"),
    ("/v1/messages", {**CHAT, "max_tokens": 9, "messages": QUESTION * 9_000}, "messages"),
    ("/v1/messages", {**CHAT, "max_tokens": 9, "stop_sequences": [LONG]}, "stop_sequences"),
    ("/v1/embeddings", {"model": "ratchet", "input": "a", "user": LONG}, "user"),
    ("/tokenize", {"messages": QUESTION * 9_000}, "messages"),
    ("/v1/feedback", {"completion_id": "a", "label": LONG}, "label"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "param"), TOO_LARGE, ids=lambda value: str(value)[:40])
async def test_what_is_too_long_is_named_and_not_repeated(
    path: str, body: dict[str, Any], param: str
) -> None:
    async with serving() as api:
        reply = await api.client.post(path, json=body)
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert (error.get("param") or error["message"]).startswith(param)
        assert len(reply.content) < 1_000
        assert api.engine.requests == []


@pytest.mark.parametrize(
    "inside", ["ratchet", "stream_options", "metadata", "messages.0", "response_format"]
)
async def test_thousands_of_keys_cost_little(inside: str) -> None:
    keys = {f"k{at}": at for at in range(100_000)}
    body = {**CHAT, **(said(**keys) if inside == "messages.0" else {inside: keys})}
    async with serving() as api:
        reply = await api.chat(**body)
    assert reply.status_code in (200, 400)
    assert len(reply.content) < 2_000


async def test_a_long_prompt_is_answered_and_not_kept() -> None:
    async with serving() as api:
        reply = await api.chat(messages=[{"role": "user", "content": LONG}])
        assert reply.json()["ratchet"]["reason"] == "too_large"
        assert await api.recorded() == 0
        assert len(api.parts.reservoir) == 0
        assert b'ratchet_groups_offered_total{outcome="too_large"} 1.0' in (
            api.parts.metrics.expose()
        )


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "tool_call_id": "c" * 4_000, "content": ""},
        {"role": "user", "content": [{"type": "text", "text": ""}] * 4_000},
        {"role": "assistant", "reasoning_content": "r" * 4_000, "content": ""},
        {"role": "assistant", "tool_calls": [CALL] * 60},
    ],
    ids=["ids", "parts", "reasoning", "calls"],
)
async def test_everything_of_a_message_counts(message: dict[str, Any]) -> None:
    async with serving() as api:
        reply = await api.chat(messages=[*QUESTION, *[message] * 40])
        assert reply.json()["ratchet"]["reason"] == "too_large"
        assert await api.recorded() == 0


@pytest.mark.parametrize("name", ["documents", "tools", "chat_template_kwargs"])
async def test_what_is_asked_counts_with_its_options_for_feedback(name: str) -> None:
    """Feedback keeps a query only if the gate could ask it again, whatever makes it long."""
    long = {"documents": [{"t": "x" * 30_000}], "chat_template_kwargs": {"a": "x" * 30_000}}
    function = {"name": "f", "description": "x" * 30_000}
    given = {**long, "tools": [{"type": "function", "function": function}]}[name]
    async with serving() as api:
        for _ in range(9):
            await api.chat(**{name: given})
        await until(lambda: not api.parts.feedback.unstored)
        assert "x" * 20_000 not in repr(vars(api.parts.feedback_store))


async def test_a_body_of_too_many_levels_is_refused_and_nothing_ends() -> None:
    """What can be read can be written again, however deep it stands where it is kept."""
    async with serving() as api:
        for levels in range(40, 260, 6):
            deep: Any = {}
            for _ in range(levels):
                deep = {"a": deep}
            reply = await api.chat(chat_template_kwargs=deep)
            assert reply.status_code == (200 if levels <= 94 else 400), levels
            assert reply.status_code == 200 or reply.json()["error"]["param"] in (
                "chat_template_kwargs"
            )
        await until(lambda: not api.parts.feedback.unstored)
        assert not api.parts.failed.is_set()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("said", [r'{"\ud800": 1}', r'["\udfff"]', r'{"a": "\ud83d"}'])
async def test_half_of_a_character_is_answered(said: str, stream: bool) -> None:
    """A model may write it, as an escape; it is no answer, and the reply is its text."""
    async with serving() as api:
        api.says(said)
        for form in ({}, {"ratchet": {"answer": {"kind": "json"}}}):
            reply = await api.chat(stream=stream, **form)
            assert reply.status_code == 200
            assert "ud8" in reply.text or "udf" in reply.text
        assert b'status="500"' not in api.parts.metrics.expose()


def test_the_gate_keeps_no_long_query() -> None:
    reservoir = Reservoir()
    reservoir.add("a", Query("short", {}))
    reservoir.add("b", Query("short", {"tools": [{"description": LONG}]}))
    reservoir.add("c", Query(LONG, {}))
    assert len(reservoir) == 1


async def test_answers_kept_for_feedback_have_a_bound() -> None:
    store = MemoryFeedback(60, 60)
    for at in range(2_000):
        await store.remember([(str(at), Answered(["x" * 20_000], "x"))])
    assert await store.recall("1999") is not None
    assert await store.recall("0") is None
    held = [answered for _, answered in store._answered.values()]  # noqa: SLF001
    assert sum(sys.getsizeof(answered.answers[0]) for answered in held) < 20_000_000


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


ODD = {
    "deep": nested(120),
    "deeper": nested(450),
    "huge": 10**400,
    "wide": {f"k{at}": at for at in range(3_000)},
    "long": "y" * 300_000,
    "many": [[]] * 30_000,
}
VALID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "ratchet", "prompt": "a"},
    "/v1/responses": {"model": "ratchet", "input": "a"},
    "/v1/messages": {**CHAT, "max_tokens": 9},
    "/v1/messages/count_tokens": CHAT,
    "/v1/embeddings": {"model": "ratchet", "input": "a"},
    "/tokenize": {"prompt": "a"},
    "/detokenize": {"tokens": [1]},
}


@pytest.mark.parametrize("path", TABLES)
@pytest.mark.parametrize("odd", ODD)
async def test_no_field_takes_what_is_odd_for_a_fault_of_ours(path: str, odd: str) -> None:
    """A text that a prompt may be is answered; a hint may be anything."""
    async with serving(rollouts=2) as api:
        for name in TABLES[path]:
            body = json.dumps({**VALID[path], name: ODD[odd]})
            kind = {"content-type": "application/json"}
            reply = await api.client.post(path, content=body, headers=kind)
            assert reply.status_code in (200, 400, 404), (name, reply.status_code)
            if reply.status_code >= 400:
                assert len(reply.content) < 2_000, name
                error = reply.json()["error"]
                said = f"{error.get('param')} {error['message']}"
                assert name in said or "not valid JSON" in said, name


@pytest.mark.parametrize(
    ("prompt", "chars"),
    [("", 0), ([], 0), ("abc", 3), ([7, 8], 8), (["ab", "c"], 3), ([[1], [2, 3]], 12),
     ([{"a": 1}], 9)],
)  # fmt: skip
def test_how_long_a_prompt_is(prompt: Any, chars: int) -> None:
    assert size_of(prompt) == chars


async def test_no_tokens_are_a_text_too() -> None:
    async with serving() as api:
        assert (await api.client.post("/detokenize", json={"tokens": []})).status_code == 200
