"""One message of a chat, as clients write it and as the engine's chat template gets it.

What a template has no use for is left out: hints such as `cache_control`, and fields that clients
keep with their messages.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

import orjson
from pydantic import Field, PlainValidator, WithJsonSchema

from server.api.fields import (
    MAX_CALLS,
    MAX_ID_CHARS,
    MAX_MESSAGES,
    MAX_NAME_CHARS,
    MAX_PARTS,
    CallId,
    Name,
)
from server.api.parsing import FieldInvalid, check_passengers
from server.api.request_parts.part import Part

_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Type of a part -> its field with the text."""
_AROUND = 24
"""Characters, in tokens a few, that a template puts around a message."""
_READ_OF_PARTS = frozenset({"type", *_TEXTS.values()})
_OTHER_PARTS = frozenset({
    "image_url", "input_image", "image", "input_audio", "audio_url", "file", "input_file",
    "document", "video_url",
})  # fmt: skip
"""Types of parts that may be named in an error; what else a client writes is not repeated."""


def _content(value: Any) -> str | list[dict[str, str]] | None:
    """A text, or text parts without their hints."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError("must be a text or a list of parts")
    parts = cast("list[Any]", value)
    if len(parts) > MAX_PARTS:
        raise ValueError(f"must have at most {MAX_PARTS} parts")
    return [_part(at, part) for at, part in enumerate(parts)]


def _part(at: int, part: Any) -> dict[str, str]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, dict):
        raise ValueError(f"part {at} must be an object")
    given = cast("dict[str, Any]", part)
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in _TEXTS:
        known = isinstance(kind, str) and kind in _OTHER_PARTS
        named = f"is of type {kind}" if known else "has no known type"
        raise ValueError(f"part {at} {named}: only text is read")
    if media := sorted(given.keys() & _OTHER_PARTS):
        raise ValueError(f"part {at} has {media[0]}: only text is read")
    check_passengers(given, _READ_OF_PARTS)
    text = given.get(_TEXTS[kind])
    if not isinstance(text, str):
        raise ValueError(f"part {at} has no {_TEXTS[kind]}")
    return {"type": "text", "text": text}


def _calls(value: Any) -> list[dict[str, Any]] | None:
    """Tool calls of an earlier reply."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise ValueError("must be a list of calls")
    calls = cast("list[Any]", value)
    if len(calls) > MAX_CALLS:
        raise ValueError(f"must be at most {MAX_CALLS} calls")
    return [_call(at, call) for at, call in enumerate(calls)]


def _call(at: int, call: Any) -> dict[str, Any]:
    given: Mapping[str, Any] = cast("dict[str, Any]", call) if isinstance(call, dict) else {}
    if given.get("type", "function") != "function":
        raise FieldInvalid(f"{at}.type", "only calls of functions are read")
    known = given.get("id")
    if not isinstance(known, str | None) or len(known or "") > MAX_ID_CHARS:
        raise FieldInvalid(f"{at}.id", f"must be a text of at most {MAX_ID_CHARS} characters")
    rest = {} if known is None else {"id": known}
    return {**rest, "type": "function", "function": _function(given.get("function"), f"{at}.")}


def _function(value: Any, at: str = "") -> dict[str, str]:
    """Name and arguments of a call; arguments that a client has parsed are written again."""
    given: Mapping[str, Any] = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    name, arguments = given.get("name"), given.get("arguments")
    if not isinstance(name, str):
        raise FieldInvalid(f"{at}function".removeprefix("."), "has no name")
    if len(name) > MAX_NAME_CHARS:
        raise FieldInvalid(f"{at}function", f"has a name of more than {MAX_NAME_CHARS} characters")
    if isinstance(arguments, dict):
        try:
            arguments = orjson.dumps(arguments).decode()
        except TypeError:
            raise FieldInvalid(f"{at}function", "is nested too deeply") from None
    if not isinstance(arguments, str | None):
        raise FieldInvalid(f"{at}function", "has arguments that are no text")
    return {"name": name, "arguments": arguments or "{}"}


def _older_call(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    try:
        return _function(value)
    except FieldInvalid as error:
        raise ValueError(str(error)) from None


def _no_audio(value: Any) -> None:
    if value is not None:
        raise ValueError("replies are text: there is no audio to go back to")


# What the checks of this file demand, as JSON Schema.
_NAMED: dict[str, Any] = {
    "type": "object", "required": ["name"],
    "properties": {"name": {"type": "string"}, "arguments": {"type": ["string", "object", "null"]}},
}  # fmt: skip
_NO_MEDIA: dict[str, Any] = dict.fromkeys(sorted(_OTHER_PARTS), False)
_TEXT_PART: dict[str, Any] = {
    "type": "object", "required": ["type", "text"],
    "properties": {
        "type": {"enum": ["text", "input_text", "output_text"]}, "text": {"type": "string"},
        **_NO_MEDIA,
    },
}  # fmt: skip
_REFUSAL: dict[str, Any] = {
    "type": "object", "required": ["type", "refusal"],
    "properties": {"type": {"const": "refusal"}, "refusal": {"type": "string"}, **_NO_MEDIA},
}  # fmt: skip
_PARTS = {
    "type": "array",
    "maxItems": MAX_PARTS,
    "items": {"anyOf": [_TEXT_PART, _REFUSAL, {"type": "string"}]},
}
_CALL: dict[str, Any] = {
    "type": "object", "required": ["function"],
    "properties": {
        "id": {"type": ["string", "null"]}, "type": {"const": "function"}, "function": _NAMED,
    },
}  # fmt: skip
_NULL = {"type": "null"}

Content = Annotated[
    str | list[dict[str, str]] | None,
    PlainValidator(_content),
    WithJsonSchema({"anyOf": [{"type": "string"}, _PARTS, _NULL], "default": None}),
]
_Calls = Annotated[
    list[dict[str, Any]] | None,
    PlainValidator(_calls),
    WithJsonSchema({"anyOf": [{"type": "array", "items": _CALL}, _NULL], "default": None}),
]
_OlderCall = Annotated[
    dict[str, str] | None,
    PlainValidator(_older_call),
    WithJsonSchema({"anyOf": [_NAMED, _NULL], "default": None}),
]
_Audio = Annotated[None, PlainValidator(_no_audio), WithJsonSchema({**_NULL, "default": None})]


class Message(Part):
    """One chat message."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content = None
    name: Name | None = None
    tool_calls: _Calls = None
    tool_call_id: CallId | None = None
    function_call: _OlderCall = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    audio: _Audio = None

    @property
    def size(self) -> int:
        """About how many characters it has, its role and what goes around it included."""
        said, around = self.content, _AROUND
        if isinstance(said, list):
            around += _AROUND * len(said)
            said = "".join(part["text"] for part in said)
        texts = (
            said, self.reasoning, self.reasoning_content, self.refusal, self.name,
            self.tool_call_id,
        )  # fmt: skip
        calls = [*(self.tool_calls or ()), *([self.function_call] if self.function_call else ())]
        written = len(orjson.dumps(calls)) if calls else 0
        return around + written + sum(len(text) for text in texts if text)

    @property
    def for_engine(self) -> dict[str, Any]:
        """The message as the engine takes it: a refusal is what was said."""
        given = self.model_dump(exclude_none=True, exclude={"audio", "refusal"})
        return given if self.content is not None else {**given, "content": self.refusal}


Messages = Annotated[list[Message], Field(fail_fast=True, min_length=1, max_length=MAX_MESSAGES)]
