"""Messages as clients write them, and as the engine gets them."""

from typing import Any

import pytest
from pydantic import ValidationError

from server.api.request_parts.chat_message import Message

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def sent(**fields: Any) -> dict[str, Any]:
    return Message.model_validate({"role": "user", **fields}).for_engine


def test_hints_and_what_clients_keep_with_a_message_are_left_out() -> None:
    part = {"type": "text", "text": "OK", "cache_control": {"type": "ephemeral"}}
    message = sent(content=[part], name="bob", id=1947269257, opts={"visible": False})
    content = [{"type": "text", "text": "OK"}]
    assert message == {"role": "user", "content": content, "name": "bob"}


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({"type": "input_text", "text": "a"}, "a"),
        ({"type": "output_text", "text": "a", "annotations": []}, "a"),
        ({"type": "refusal", "refusal": "no"}, "no"),
        ("plain", "plain"),
    ],
)
def test_every_kind_of_text_is_text(part: Any, text: str) -> None:
    assert sent(content=[part])["content"] == [{"type": "text", "text": text}]


def test_an_earlier_reply_may_be_sent_back_as_it_came() -> None:
    nulls = {"tool_calls": None, "refusal": None, "function_call": None, "audio": None}
    reply = Message.model_validate(
        {"role": "assistant", "content": "hi", **nulls, "annotations": [], "reasoning": "hm"}
    )
    assert reply.for_engine == {"role": "assistant", "content": "hi", "reasoning": "hm"}
    refused = Message.model_validate({"role": "assistant", "content": None, "refusal": "no"})
    assert refused.for_engine == {"role": "assistant", "content": "no"}


@pytest.mark.parametrize("arguments", ["{}", {}, None])
def test_calls_are_told_as_the_engine_knows_them(arguments: Any) -> None:
    call = {**CALL, "function": {"name": "f", "arguments": arguments}, "index": 0}
    message = Message.model_validate({"role": "assistant", "content": [], "tool_calls": [call]})
    assert message.for_engine == {"role": "assistant", "content": [], "tool_calls": [CALL]}


@pytest.mark.parametrize(
    "fields",
    [
        {"content": 5},
        {"content": [5]},
        {"content": [{"type": "text"}]},
        {"content": [{"type": "text", "text": 5}]},
        {"content": [{"text": "no type"}]},
        {"content": [{"type": "refusal", "text": "no"}]},
        {"content": [{"type": "image_url", "image_url": {"url": "http://x"}}]},
        {"content": [{"type": "text", "text": "x", "image_url": {"url": "http://x"}}]},
        {"content": [{"type": ["text"], "text": "x"}]},
        {"tool_calls": "f"},
        {"tool_calls": ["f"]},
        {"tool_calls": [{"id": 5, **{k: CALL[k] for k in ("type", "function")}}]},
        {"tool_calls": [{"type": "custom", "custom": {"name": "f", "input": ""}}]},
        {"tool_calls": [{"type": "function", "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": 5}}]},
        {"function_call": {"arguments": "{}"}},
        {"audio": {"id": "a"}},
        {"role": "nobody"},
    ],
)
def test_what_cannot_be_read_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Message.model_validate({"role": "user", **fields})


def test_other_media_are_named_but_no_text_of_the_client_s_is() -> None:
    for kind, named in (("image_url", "image_url"), ("secret", "no known type")):
        with pytest.raises(ValidationError, match=f"part 0 .*{named}.*only text") as error:
            Message.model_validate({"role": "user", "content": [{"type": kind}]})
        assert "secret" not in str(error.value.errors(include_input=False))
