"""What a request says of the form of its replies by a grammar: JSON, or vLLM's own kinds."""

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, WithJsonSchema

from rewards.answer_choice import AnswerChoice
from server.api.fields import Strict

MAX_FORMAT_BYTES = 128 << 10

_FORMATS = ("text", "json_object", "json_schema", "structural_tag")
_JSON_FORMATS = frozenset({"json_object", "json_schema"})
_T = TypeVar("_T")


def within(limit: int) -> AfterValidator:
    """A check that a field's JSON has at most `limit` bytes, and that we can write it again."""

    def check(value: _T) -> _T:
        try:
            size = len(orjson.dumps(value))
        except TypeError:
            raise ValueError("nested too deeply") from None
        if size > limit:
            raise ValueError(f"at most {limit} bytes of JSON")
        return value

    return AfterValidator(check)


def _is_known(value: dict[str, Any]) -> dict[str, Any]:
    kind = value.get("type")
    if kind not in _FORMATS:
        raise ValueError(f"type must be one of {', '.join(_FORMATS)}")
    if kind == "json_schema" and not isinstance(value.get("json_schema"), dict):
        raise ValueError("json_schema is missing")
    return value


_SCHEMA_FORMAT: dict[str, Any] = {
    "type": "object", "required": ["type", "json_schema"],
    "properties": {"type": {"const": "json_schema"}, "json_schema": {"type": "object"}},
}  # fmt: skip
_OTHER_FORMAT: dict[str, Any] = {
    "type": "object", "required": ["type"],
    "properties": {"type": {"enum": [name for name in _FORMATS if name != "json_schema"]}},
}  # fmt: skip

Shape = Annotated[dict[str, Any], within(MAX_FORMAT_BYTES)]


class Grammar(Strict):
    """The fields that keep replies to a grammar."""

    response_format: Annotated[
        Annotated[Shape, AfterValidator(_is_known)] | None,
        WithJsonSchema(
            {"anyOf": [_SCHEMA_FORMAT, _OTHER_FORMAT, {"type": "null"}], "default": None}
        ),
    ] = None
    structured_outputs: Shape | None = None
    """vLLM's own: a grammar for the reply."""

    @property
    def form_answer(self) -> AnswerChoice | None:
        """How answers are read that have this form; None if it does not say."""
        formats = self.response_format or {}
        grammar = self.structured_outputs or {}
        if formats.get("type") in _JSON_FORMATS or grammar.keys() & {"json", "json_object"}:
            return AnswerChoice("json")
        return None

    @property
    def bends_sampling(self) -> bool:
        """Whether the engine keeps rollouts to a grammar."""
        if self.structured_outputs is not None:
            return True
        return (self.response_format or {}).get("type", "text") != "text"
