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
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError("must be a text, a list of token ids, or a list of either")
    if (tokens := _tokens(cast("list[Any]", value))) is not None:
        return tokens
    several = cast("list[Any]", value)
    if not 1 <= len(several) <= most:
        raise ValueError(f"must have from 1 to {most} texts")
    prompts = [_one(at, given) for at, given in enumerate(several)]
    if any(isinstance(one, str) != isinstance(prompts[0], str) for one in prompts):
        raise ValueError("must be all texts or all token ids")
    return prompts


def _one(at: int, value: Any) -> OnePrompt:
    tokens = _tokens(cast("list[Any]", value)) if isinstance(value, list) else None
    if tokens is None and not isinstance(value, str):
        raise FieldInvalid(str(at), "must be a text or a list of token ids, and not empty")
    return value if tokens is None else tokens


def _tokens(value: list[Any]) -> list[int] | None:
    """A list of token ids, 5.0 among them, which is an integer in JSON; None if it is another one,
    or empty, which asks for nothing."""
    whole = [int(one) if type(one) is float and one.is_integer() else one for one in value]
    fine = bool(whole) and all(type(one) is int and 0 <= one <= _MAX_TOKEN for one in whole)
    return whole if fine else None


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
