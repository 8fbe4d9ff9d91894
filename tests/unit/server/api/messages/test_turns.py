"""Turns of a Messages request as a chat's messages."""

import time
from typing import Any

import pytest
from pydantic import TypeAdapter

from server.api.messages.content import Texts, Turn
from server.api.messages.turns import messages_of

TURNS: TypeAdapter[list[Any]] = TypeAdapter(list[Turn])
SYSTEM: TypeAdapter[Any] = TypeAdapter(Texts)


def chat(*turns: tuple[str, Any], system: Any = None) -> list[dict[str, Any]]:
    given = [{"role": role, "content": content} for role, content in turns]
    said = None if system is None else SYSTEM.validate_python(system)
    return messages_of(said, TURNS.validate_python(given))


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said, "cache_control": {"type": "ephemeral"}}


def test_what_operators_say_stands_at_the_head() -> None:
    found = chat(
        ("user", "2+2?"), ("system", "Hurry."), ("assistant", "4"), ("user", [text("3+3?")]),
        system=[text("Be brief."), text("Be kind.")],
    )  # fmt: skip
    assert found == [
        {"role": "system", "content": "Be brief.\nBe kind.\n\nHurry."},
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "3+3?"},
    ]


def test_turns_of_one_side_are_one_message() -> None:
    found = chat(("user", "a"), ("user", [text("b"), text("c")]), ("assistant", "d"),
                 ("assistant", [text("e")]))  # fmt: skip
    assert found == [
        {"role": "user", "content": "a\nb\nc"}, {"role": "assistant", "content": "d\ne"},
    ]  # fmt: skip


def test_thinking_text_and_calls_of_an_assistant_and_what_they_brought() -> None:
    found = chat(
        ("assistant", [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"}, text("Let me see."),
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1]}},
            {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
        ]),
        ("user", [
            text("Here:"),
            {"type": "tool_result", "tool_use_id": "t1", "content": "20", "is_error": True},
            {"type": "tool_result", "tool_use_id": "t2", "content": [text("3"), text("0")]},
            {"type": "tool_result", "tool_use_id": "t3"},
        ]),
    )  # fmt: skip
    calls = [
        {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":[1]}'}},
        {"id": "t2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    assert found == [
        {"role": "assistant", "content": "Let me see.", "reasoning": "hm", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "t1", "content": "20"},
        {"role": "tool", "tool_call_id": "t2", "content": "3\n0"},
        {"role": "tool", "tool_call_id": "t3", "content": ""},
        {"role": "user", "content": "Here:"},
    ]


def test_documents_of_text_and_search_results_are_read() -> None:
    plain = {"type": "text", "media_type": "text/plain", "data": "Rome is old."}
    pieces = {"type": "content", "content": [text("Oslo"), text("is cold.")]}
    found = chat(("user", [
        {"type": "document", "source": plain, "title": "Rome", "context": "of a book"},
        {"type": "document", "source": pieces},
        {"type": "search_result", "source": "http://x", "title": "Bern", "content": [text("Old.")]},
    ]))  # fmt: skip
    assert found[0]["content"] == (
        "Rome\nof a book\nRome is old.\nOslo\nis cold.\nBern\nhttp://x\nOld."
    )


def test_there_is_always_a_message() -> None:
    assert chat(("system", "")) == [{"role": "user", "content": ""}]
    assert chat(("assistant", [])) == [{"role": "assistant", "content": None}]


@pytest.mark.parametrize(
    ("role", "content", "word"),
    [
        ("user", [{"type": "image", "source": {"type": "url", "url": "x"}}], "image"),
        ("user", [{"type": "document", "source": {"type": "base64", "data": "x"}}], "base64"),
        ("user", [{"type": "tool_use", "id": "t", "name": "f", "input": {}}], "tool_use"),
        ("assistant", [{"type": "tool_result", "tool_use_id": "t"}], "tool_result"),
        ("assistant", [{"type": "server_tool_use", "id": "t"}], "server_tool_use"),
        ("tool", "x", "role"),
        ("user", {"type": "text"}, "a text or a list"),
    ],
)
def test_what_cannot_be_read_is_named(role: str, content: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        chat((role, content))


def test_thousands_of_blocks_are_joined_at_once() -> None:
    blocks = [text("x" * 40)] * 4_096
    turns = TURNS.validate_python([{"role": "assistant", "content": blocks}] * 17)
    started = time.process_time()
    [message] = messages_of(None, turns)
    assert time.process_time() - started < 0.5  # 1.5 s before
    assert len(message["content"]) == 17 * 4_096 * 41 - 1
