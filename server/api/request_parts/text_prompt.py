"""The prompt of a text completion: a text or token ids, or several of either."""

from functools import partial
from typing import Annotated, Any, TypeAlias, cast

from pydantic import PlainValidator, WithJsonSchema

from server.api.parsing import FieldInvalid

MAX_PROMPTS, MAX_INPUTS = 256, 2_048
"""Prompts of one completion, which are written on, and texts to embed, which are only read."""
_MAX_TOKEN = 2**31 - 1

OnePrompt: TypeAlias = str | list[int]


def _prompt(value: Any, most: int) -> OnePrompt | list[OnePrompt]:
    if isinstance(value, str) or _are_tokens(value):
        return value
    if not isinstance(value, list):
        raise ValueError("must be a text, a list of token ids, or a list of either")
    several = cast("list[Any]", value)
    if not 1 <= len(several) <= most:
        raise ValueError(f"must have from 1 to {most} texts")
    for at, one in enumerate(several):
        if not (isinstance(one, str) or _are_tokens(one)):
            raise FieldInvalid(str(at), "must be a text or a list of token ids, and not empty")
    if any(isinstance(one, str) != isinstance(several[0], str) for one in several):
        raise ValueError("must be all texts or all token ids")
    return several


def _are_tokens(value: Any) -> bool:
    """Whether it is a list of token ids; an empty one asks for nothing."""
    if not isinstance(value, list) or not value:
        return False
    return all(type(one) is int and 0 <= one <= _MAX_TOKEN for one in cast("list[Any]", value))


_TEXT: dict[str, Any] = {"type": "string"}
_TOKENS: dict[str, Any] = {
    "type": "array", "minItems": 1,
    "items": {"type": "integer", "minimum": 0, "maximum": _MAX_TOKEN},
}  # fmt: skip


def _schema(most: int) -> WithJsonSchema:
    several = {"type": "array", "minItems": 1, "maxItems": most}
    lists = ({**several, "items": one} for one in (_TEXT, _TOKENS))
    return WithJsonSchema({"anyOf": [_TEXT, _TOKENS, *lists]})


TextPrompt = Annotated[
    str | list[int] | list[str] | list[list[int]],
    PlainValidator(partial(_prompt, most=MAX_PROMPTS)),
    _schema(MAX_PROMPTS),
]
Input = Annotated[
    str | list[int] | list[str] | list[list[int]],
    PlainValidator(partial(_prompt, most=MAX_INPUTS)),
    _schema(MAX_INPUTS),
]
