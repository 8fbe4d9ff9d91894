"""Items of a Responses request as a chat's messages."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from server.api.responses.items import Item, messages_of
from server.api.responses.options import Tool, ToolChoice, chosen_for_chat, offered

ITEMS: TypeAdapter[list[Any]] = TypeAdapter(list[Item])


def chat(*items: dict[str, Any], instructions: str | None = None) -> list[dict[str, Any]]:
    return messages_of(instructions, ITEMS.validate_python(list(items)))


def test_a_text_is_what_the_user_says_and_instructions_come_before_it() -> None:
    assert messages_of(None, "2+2?") == [{"role": "user", "content": "2+2?"}]
    assert messages_of("Be brief.", "2+2?")[0] == {"role": "system", "content": "Be brief."}


def test_messages_with_and_without_a_type_of_texts_and_parts() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "text", "text": "b", "cache": 1}]
    assert chat(
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": parts},
        {"role": "user", "content": parts[:1]},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "4", "annotations": []},
                     {"type": "refusal", "refusal": "no"}]},
    ) == [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "4no"},
    ]  # fmt: skip


def test_what_an_assistant_thinks_says_and_calls_is_one_message() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [],
               "content": [{"type": "reasoning_text", "text": "hm"}]}  # fmt: skip
    said = {"role": "assistant", "content": "Let me see."}

    def called(name: str) -> dict[str, Any]:
        return {"type": "function_call", "call_id": f"call_{name}", "name": name, "arguments": "{}"}

    brought = {"type": "function_call_output", "call_id": "call_f", "output": "20"}
    found = chat(thought, said, called("f"), called("g"), brought, thought, said, said)
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": n, "arguments": "{}"}}
        for n in "fg"
    ]
    assert found == [
        {"role": "assistant", "content": "Let me see.", "reasoning": "hm", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_f", "content": "20"},
        {"role": "assistant", "content": "Let me see.", "reasoning": "hm"},
        {"role": "assistant", "content": "Let me see."},
    ]


def test_a_call_before_any_text_and_what_it_brought_in_parts() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = [{"type": "input_text", "text": "2"}, {"type": "input_text", "text": "0"}]
    first, second = chat(call, {"type": "function_call_output", "call_id": "c", "output": output})
    assert (first["content"], len(first["tool_calls"]), second["content"]) == (None, 1, "20")


def test_a_summary_stands_for_reasoning_that_is_not_shown_and_nothing_for_encrypted_one() -> None:
    summed = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    assert chat(summed) == [{"role": "assistant", "content": None, "reasoning": "hm"}]
    sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    assert chat(sealed, {"role": "user", "content": "2+2?"}) == [
        {"role": "user", "content": "2+2?"}
    ]


@pytest.mark.parametrize(
    ("item", "word"),
    [
        ({"type": "web_search_call", "id": "ws_1"}, "web_search_call"),
        ({"type": "item_reference", "id": "msg_1"}, "item_reference"),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}, "input_image"),
        ({"type": "<script>"}, "must be one of"),
        ({"type": ["message"]}, "must be one of"),
        ("hi", "must be an object"),
        ({"role": "user", "content": 5}, "a text or a list"),
        ({"role": "tool", "content": "x"}, "role"),
    ],
)
def test_what_cannot_be_read_is_named(item: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        chat(item)
    assert "<script>" not in str(caught.value.errors(include_input=False))  # type: ignore[attr-defined]


TOOLS = TypeAdapter(list[Tool]).validate_python(
    [{"type": "function", "name": name, "parameters": None, "strict": True} for name in "fg"]
)
CHOICE: TypeAdapter[Any] = TypeAdapter(ToolChoice)


@pytest.mark.parametrize(
    ("choice", "names", "chosen"),
    [
        ("auto", "fg", "auto"),
        ("required", "fg", "required"),
        ({"type": "function", "name": "f"}, "fg", {"type": "function", "function": {"name": "f"}}),
        ({"type": "allowed_tools", "mode": "required",
          "tools": [{"type": "function", "name": "g"}, {"type": "mcp"}]}, "g", "required"),
    ],
)  # fmt: skip
def test_a_choice_of_tools(choice: Any, names: str, chosen: Any) -> None:
    made = CHOICE.validate_python(choice)
    assert [tool.name for tool in offered(TOOLS, made)] == list(names)
    assert chosen_for_chat(made) == chosen


def test_a_tool_in_a_chat_s_form() -> None:
    assert TOOLS[0].for_chat() == {"type": "function", "function": {"name": "f", "strict": True}}


@pytest.mark.parametrize("choice", ["any", 5, {"type": "web_search"}, {"type": "function"}])
def test_a_choice_that_is_none(choice: Any) -> None:
    with pytest.raises(ValueError, match=r"must be|web_search|name"):
        CHOICE.validate_python(choice)
