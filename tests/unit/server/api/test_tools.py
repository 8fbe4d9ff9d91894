"""What requests say of the form of their replies."""

import json
from typing import Any

import pytest

from rewards.answer_choice import AnswerChoice
from server.api.errors import ApiError
from server.api.parsing import parse
from server.api.requests import FORWARDED, ChatRequest

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
STRICT = {"type": "function", "function": {**TOOL["function"], "strict": True}}
NAMED = {"type": "function", "function": {"name": "weather"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
USUAL = AnswerChoice("auto")


def asking(**fields: Any) -> ChatRequest:
    body = {"model": "ratchet", "messages": [{"role": "user", "content": "hi"}], **fields}
    return parse(ChatRequest, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, USUAL),
        ({"tools": []}, USUAL),
        ({"tools": [TOOL]}, AnswerChoice("tool_calls")),
        ({"tools": [TOOL], "tool_choice": "none"}, USUAL),
        ({"tools": [TOOL], "parallel_tool_calls": False},
         AnswerChoice("tool_calls", parallel=False)),
        ({"functions": [TOOL["function"]]}, AnswerChoice("tool_calls")),
        ({"functions": [TOOL["function"]], "function_call": "none"}, USUAL),
        ({"response_format": {"type": "text"}}, USUAL),
        ({"response_format": {"type": "json_object"}}, AnswerChoice("json")),
        ({"response_format": SCHEMA}, AnswerChoice("json")),
        ({"response_format": SCHEMA, "tools": [TOOL]}, AnswerChoice("tool_calls")),
        ({"structured_outputs": {"json": {}}}, AnswerChoice("json")),
        ({"structured_outputs": {"regex": "a+"}}, USUAL),
        ({"tools": [TOOL], "ratchet": {"answer": "math"}}, AnswerChoice("math")),
        ({"ratchet": {"answer": {"kind": "choice", "options": ["yes", "no"]}}},
         AnswerChoice("choice", options=("yes", "no"))),
    ],
)  # fmt: skip
def test_the_kind_follows_from_the_request(fields: dict[str, Any], choice: AnswerChoice) -> None:
    assert asking(**fields).answer(USUAL) == choice


@pytest.mark.parametrize(
    ("fields", "bent"),
    [
        ({}, False),
        ({"tools": [TOOL]}, False),
        ({"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True}, False),
        ({"tools": [TOOL], "tool_choice": "required"}, True),
        ({"tools": [TOOL], "tool_choice": NAMED}, True),
        ({"tools": [TOOL], "parallel_tool_calls": False}, True),
        ({"tools": [STRICT]}, True),
        ({"tools": [STRICT], "tool_choice": "none"}, False),
        ({"functions": [TOOL["function"]], "function_call": {"name": "weather"}}, True),
        ({"response_format": {"type": "text"}}, False),
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": SCHEMA}, True),
        ({"response_format": {"type": "structural_tag"}}, True),
        ({"structured_outputs": {"choice": ["a", "b"]}}, True),
    ],
)
def test_where_a_grammar_bends_the_sampling(fields: dict[str, Any], bent: bool) -> None:
    assert asking(**fields).bends_sampling is bent


def test_functions_go_to_the_engine_as_tools() -> None:
    function = TOOL["function"]
    options = asking(functions=[function], function_call={"name": "weather"}).forwarded(FORWARDED)
    assert options == {"tools": [{"type": "function", "function": function}], "tool_choice": NAMED}
    assert asking(functions=[function], function_call="auto").legacy
    assert not asking(tools=[TOOL]).legacy


def test_without_tools_there_is_nothing_to_choose() -> None:
    for tools in ([], None):
        given = asking(tools=tools, tool_choice="auto", parallel_tool_calls=False, max_tokens=3)
        assert given.forwarded(FORWARDED) == {"max_tokens": 3}
        assert not given.bends_sampling


def test_what_shapes_a_reply_shapes_its_rollouts_too() -> None:
    options = asking(tools=[TOOL], tool_choice="auto", response_format={"type": "text"})
    assert options.forwarded(FORWARDED) == {
        "tools": [TOOL], "tool_choice": "auto", "response_format": {"type": "text"},
    }  # fmt: skip


DEEP: Any = {}
for _ in range(400):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tools": [{}]}, "tools"),
        ({"tools": [{"type": 5}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": 5}}]}, "tools"),
        ({"tools": [{"type": "function", "function": "weather"}]}, "tools"),
        ({"tools": [TOOL] * 129}, "tools"),
        ({"tools": [{**TOOL, "x": "y" * (256 << 10)}]}, "tools"),
        ({"tools": [{**TOOL, "x": DEEP}]}, "tools"),
        ({"tools": "weather"}, "tools"),
        ({"tools": ["weather"]}, "tools.0"),
        ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [], "tool_choice": NAMED}, "tool_choice"),
        ({"functions": [{}]}, "functions"),
        ({"tools": [TOOL], "functions": [TOOL["function"]]}, "functions"),
        ({"functions": [TOOL["function"]], "function_call": "required"}, "function_call"),
        ({"functions": [TOOL["function"]], "function_call": {"nam": "x"}}, "function_call"),
        ({"function_call": {"name": "x"}}, "function_call"),
        ({"response_format": {}}, "response_format"),
        ({"response_format": {"type": 1}}, "response_format"),
        ({"response_format": {**SCHEMA, "x": "y" * (128 << 10)}}, "response_format"),
        ({"response_format": {**SCHEMA, "x": DEEP}}, "response_format"),
        ({"structured_outputs": {"json": DEEP}}, "structured_outputs"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"stream": "yes"}, "stream"),
        ({"ratchet": {"strategy": "best"}}, "ratchet.strategy"),
        ({"tool_choice": 5}, "tool_choice"),
    ],
)  # fmt: skip
def test_bad_input_is_a_400_that_names_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as error:
        asking(**fields)
    assert (error.value.status, error.value.param) == (400, param)


@pytest.mark.parametrize(
    ("answer", "param"),
    [
        (5, "ratchet.answer"),
        ({}, "ratchet.answer"),
        ({"kind": 5}, "ratchet.answer"),
        ({"kind": "choice", "options": "yes"}, "ratchet.answer.options"),
        ({"kind": "choice", "options": ["yes"]}, "ratchet.answer.options"),
        ({"kind": "choice", "options": ["y" * 201, "no"]}, "ratchet.answer.options"),
        ({"kind": "pattern", "pattern": "x" * 1_001}, "ratchet.answer.pattern"),
        ({"kind": "math", "pattern": "x"}, "ratchet.answer.pattern"),
        ({"kind": "math", "colour": "x"}, "ratchet.answer.colour"),
    ],
)
def test_a_bad_answer_choice_names_its_field(answer: Any, param: str) -> None:
    with pytest.raises(ApiError) as error:
        asking(ratchet={"answer": answer})
    assert (error.value.status, error.value.param) == (400, param)


def test_a_conversation_of_functions_is_told_in_todays_form() -> None:
    call = {"name": "weather", "arguments": "{}"}
    prompt = asking(
        messages=[
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "function_call": call},
            {"role": "function", "name": "weather", "content": "rain"},
            {"role": "assistant", "content": "Rain.", "function_call": None},
        ]
    ).prompt_for_engine
    assert prompt == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "call_0", "type": "function", "function": call}]},
        {"role": "tool", "name": "weather", "content": "rain", "tool_call_id": "call_0"},
        {"role": "assistant", "content": "Rain."},
    ]  # fmt: skip
