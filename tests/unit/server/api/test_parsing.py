"""Errors in the client's words: its own fields, never a branch of our types, never its values."""

import json
from typing import Any

import pytest

from server.api.errors import ApiError
from server.api.feedback_request import FeedbackRequest
from server.api.parsing import parse
from server.api.requests import ChatRequest, TextRequest

CHAT = {"model": "ratchet", "messages": [{"role": "user", "content": "hi"}]}
TEXT = {"model": "ratchet", "prompt": "2+2="}


def refused(kind: Any, body: Any) -> ApiError:
    with pytest.raises(ApiError) as error:
        parse(kind, json.dumps(body).encode())
    assert error.value.status == 400
    return error.value


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"stop": 5}, "stop", "stop: must be a text or a list"),
        ({"stop": ["a", 5]}, "stop.1", "stop.1: must be a text"),
        ({"stop": ["a"] * 5}, "stop", "at most 4 items"),
        ({"n": "8"}, "n", "n: must be a whole number"),
        ({"n": 1.5}, "n", "n: must be a whole number"),
        ({"temperature": "hot"}, "temperature", "temperature: must be a number"),
        ({"stream": 1}, "stream", "stream: must be true or false"),
        ({"tool_choice": 5}, "tool_choice", "tool_choice: must be a text or an object"),
        ({"metadata": {"str": 5}}, "metadata.str", "metadata.str: must be a text"),
        ({"metadata": {"k" * 65: "v"}}, "metadata." + "k" * 64 + "…", "at most 64 characters"),
        ({"metadata": 5}, "metadata", "metadata: must be an object"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x", "logit_bias.x"),
        ({"messages": 5}, "messages", "messages: must be a list"),
        ({"messages": ["hi"]}, "messages.0", "messages.0: must be an object"),
        ({"messages": None}, "messages", "messages: is required"),
        ({"model": None}, "model", "model: is required"),
        ({"top_logprobs": 3}, "top_logprobs", "top_logprobs: needs logprobs: true"),
        ({"stream_options": {"colour": 1}, "stream": True}, "stream_options.colour", "Unknown"),
        ({"ratchet": {"colour": 1}}, "ratchet.colour", "Unknown field: ratchet.colour"),
        ({"ratchet": 5}, "ratchet", "ratchet: must be an object"),
        ({"audio": {"voice": "x"}}, "audio", "audio: replies are text"),
        ({"modalities": ["text", "audio"]}, "modalities", "modalities: replies are text"),
        ({"reasoning_effort": "huge"}, "reasoning_effort", "'none', 'minimal'"),
        ({"response_format": {"type": "yaml"}}, "response_format", "type must be one of text"),
        ({"vllm_xargs": {"kv_transfer_params": "x"}}, "vllm_xargs", "do not hand work"),
        ({"vllm_xargs": {"a": {}}}, "vllm_xargs.a", "must be a text or a whole number or"),
        ({"stream_interval": 1e20}, "stream_interval", "less than or equal to"),
        ({"stop_token_ids": [1, -1]}, "stop_token_ids.1", "greater than or equal to 0"),
    ],
)
def test_a_bad_field_of_a_chat(fields: dict[str, Any], param: str, message: str) -> None:
    error = refused(ChatRequest, {**CHAT, **fields})
    assert error.param == param
    assert message in error.message


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (5, "prompt"), ({}, "prompt"), ([], "prompt"), ([[]], "prompt.0"), ([True], "prompt.0"),
        ([-1], "prompt.0"), ([2**31], "prompt.0"), ([1, "a"], "prompt.0"), (["a", 1], "prompt.1"),
        (["a", [1]], "prompt"), ([[1], [2, "a"]], "prompt.1"), (["a"] * 257, "prompt"),
        ([1.5], "prompt.0"), ([None], "prompt.0"),
    ],
)  # fmt: skip
def test_a_bad_prompt(prompt: Any, param: str) -> None:
    assert refused(TextRequest, {**TEXT, "prompt": prompt}).param == param


def test_several_candidates_are_not_made() -> None:
    error = refused(TextRequest, {**TEXT, "n": 2, "best_of": 3})
    assert error.param == "best_of"
    assert "ratchet.rollouts" in error.message
    assert parse(TextRequest, json.dumps({**TEXT, "n": 2, "best_of": 1}).encode()).n == 2


@pytest.mark.parametrize("body", [[], 5, "hi", None])
def test_a_body_that_is_no_object(body: Any) -> None:
    error = refused(ChatRequest, body)
    assert (error.message, error.param) == ("the body must be an object", None)


def test_an_object_that_is_wrong_as_a_whole() -> None:
    error = refused(FeedbackRequest, {"completion_id": "x"})
    assert error.message == "give either label or correct"


def test_a_megabyte_of_wrong_items_is_one_error() -> None:
    for fields in ({"stop": [1] * 300_000}, {"stop_token_ids": ["a"] * 300_000}):
        error = refused(ChatRequest, {**CHAT, **fields})
        assert len(error.message) < 200


def test_unknown_fields_may_be_ignored_at_any_depth() -> None:
    body = {
        **CHAT, "colour": 1, "stream": True, "stream_options": {"colour": 1},
        "ratchet": {"rollouts": 2, "colour": {"str": 1}},
    }  # fmt: skip
    read = parse(ChatRequest, json.dumps(body).encode(), ignore_unknown=True)
    assert read.ratchet.rollouts == 2
    with pytest.raises(ApiError, match="stop: must be"):
        parse(ChatRequest, json.dumps({**body, "stop": 5}).encode(), ignore_unknown=True)


def test_nulls_are_defaults_at_any_depth() -> None:
    body = {
        **CHAT, "n": None, "ratchet": {"strategy": None, "stream": None, "train": None},
        "stream": True, "stream_options": {"include_usage": None},
    }  # fmt: skip
    read = parse(ChatRequest, json.dumps(body).encode())
    assert (read.n, read.ratchet.strategy, read.includes_usage) == (1, "majority", False)
    everything = {**CHAT, **dict.fromkeys(ChatRequest.table, None), "model": "m",
                  "messages": CHAT["messages"]}  # fmt: skip
    assert parse(ChatRequest, json.dumps(everything).encode()).forwarded(frozenset({"n"})) == {}
