"""The items of a Responses request, and the chat messages that they amount to.

https://platform.openai.com/docs/api-reference/responses/create, `input`
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from server.api.fields import MAX_PARTS, NonEmpty
from server.api.request_parts.part import Part
from server.api.surfaces.by_type import LIST, TEXT, TEXT_OR_LIST, by_type

_TEXT_ONLY = "only text is read here"
_HOSTED = "is not known here: hosted tools are not offered, and nothing is stored to refer to"


class SaidText(Part):
    """A piece of text, of whoever said it."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class Refusal(Part):
    """What a model said in place of an answer."""

    type: Literal["refusal"]
    refusal: str


_Content = Annotated[
    Annotated[str, TEXT]
    | Annotated[
        list[Annotated[SaidText | Refusal, by_type(SaidText, Refusal, refusal=_TEXT_ONLY)]],
        Field(fail_fast=True, max_length=MAX_PARTS),
        LIST,
    ],
    TEXT_OR_LIST,
]


class MessageItem(Part):
    """A message; without a type it is one too."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: _Content


class CallItem(Part):
    """A call that the model has made."""

    type: Literal["function_call"]
    call_id: NonEmpty
    name: NonEmpty
    arguments: str


class CallOutputItem(Part):
    """What a call has brought."""

    type: Literal["function_call_output"]
    call_id: NonEmpty
    output: Annotated[
        Annotated[str, TEXT]
        | Annotated[
            list[Annotated[SaidText, by_type(SaidText, refusal=_TEXT_ONLY)]],
            Field(fail_fast=True, max_length=MAX_PARTS),
            LIST,
        ],
        TEXT_OR_LIST,
    ]


class ReasoningText(Part):
    """A piece of reasoning."""

    type: Literal["reasoning_text", "summary_text"]
    text: str


class ReasoningItem(Part):
    """What the model has thought before what follows."""

    type: Literal["reasoning"]
    content: Annotated[list[ReasoningText], Field(fail_fast=True, max_length=MAX_PARTS)] | None = (
        None
    )
    summary: Annotated[list[ReasoningText], Field(fail_fast=True, max_length=MAX_PARTS)] | None = (
        None
    )


Item = Annotated[
    MessageItem | CallItem | CallOutputItem | ReasoningItem,
    by_type(
        MessageItem, CallItem, CallOutputItem, ReasoningItem, refusal=_HOSTED, untyped=MessageItem
    ),
]


def messages_of(instructions: str | None, given: str | Sequence[Item]) -> list[dict[str, Any]]:
    """The chat that instructions and input amount to. What an assistant thinks, says and calls is
    one message of a chat, and several items."""
    found: list[dict[str, Any]] = []
    if instructions:
        found.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        return [*found, {"role": "user", "content": given}]
    for item in given:
        match item:
            case MessageItem(role="assistant"):
                message = _assistant(found, "content", "tool_calls")
                message["content"] = _text(item.content)
            case MessageItem():
                found.append({"role": item.role, "content": _parts(item.content)})
            case CallItem():
                function = {"name": item.name, "arguments": item.arguments}
                call = {"id": item.call_id, "type": "function", "function": function}
                _assistant(found).setdefault("tool_calls", []).append(call)
            case CallOutputItem():
                result = {"tool_call_id": item.call_id, "content": _text(item.output)}
                found.append({"role": "tool", **result})
            case ReasoningItem():
                if thought := "".join(part.text for part in item.content or item.summary or ()):
                    message = _assistant(found, "content", "tool_calls", "reasoning")
                    message["reasoning"] = thought
    return found or [{"role": "user", "content": ""}]


def _assistant(found: list[dict[str, Any]], *taken: str) -> dict[str, Any]:
    """The assistant's message at the end of the chat, or a new one if that has one of the fields
    already that come later in a message."""
    last = found[-1] if found else {}
    if last.get("role") != "assistant" or any(last.get(field) is not None for field in taken):
        last = {"role": "assistant", "content": None}
        found.append(last)
    return last


def _text(content: str | Sequence[SaidText | Refusal]) -> str:
    """Content as one text: chat templates take parts of nobody but users."""
    if isinstance(content, str):
        return content
    return "".join(part.text if isinstance(part, SaidText) else part.refusal for part in content)


def _parts(content: str | Sequence[SaidText | Refusal]) -> str | list[dict[str, str]]:
    """Content of a user or of an operator; of several parts the engine makes one text."""
    if isinstance(content, str):
        return content
    texts = [part.text if isinstance(part, SaidText) else part.refusal for part in content]
    if len(texts) == 1:
        return texts[0]
    return [{"type": "text", "text": text} for text in texts]
