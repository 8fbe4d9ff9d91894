"""Reads objects that say by `type` what they are, and names what is wrong with one in its words.

pydantic's unions would list every branch that an object does not fit.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast, get_args

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Tag,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

_WORD = re.compile(r"[a-z0-9_]{1,64}")
"""What may be repeated of a type that is not known: no text of a client's."""

_ROOM = 8
"""Levels around an object that is part of a reply."""


def _written(value: Any) -> Any:
    nested = value
    for _ in range(_ROOM):
        nested = [nested]
    try:
        orjson.dumps(nested)
    except TypeError:
        raise ValueError("nested too deeply") from None
    return value


Json = Annotated[dict[str, Any], AfterValidator(_written)]
"""An object of any form that can be written again, inside of others."""


def by_type(
    *models: type[BaseModel],
    refusal: str,
    untyped: type[BaseModel] | None = None,
    words: Sequence[str] = (),
    key: str = "type",
) -> WrapValidator:
    """A validator for the union of these models, told apart by the literals of their field `key`.
    An object without one is `untyped`; one of another type is refused with the reason. One of the
    `words` may stand for an object."""
    known: dict[str, type[BaseModel]] = {
        name: model for model in models for name in _literals(model, key) if isinstance(name, str)
    }

    def read(value: Any, _: ValidatorFunctionWrapHandler) -> BaseModel | str:
        if isinstance(value, str) and value in words:
            return value
        if not isinstance(value, dict):
            raise ValueError(f"must be {' or '.join([*words, 'an object'])}")
        kind: Any = cast("Mapping[str, Any]", value).get(key)
        model = untyped if kind is None else known.get(kind) if isinstance(kind, str) else None
        if model is not None:
            return model.model_validate(value)
        if isinstance(kind, str) and _WORD.fullmatch(kind):
            raise ValueError(f"{key} {kind}: {refusal}")
        raise ValueError(f"{key} must be one of {', '.join(sorted(known))}")

    return WrapValidator(read)


def _branch(value: Any) -> str | None:
    return "str" if isinstance(value, str) else "list[]" if isinstance(value, list) else None


TEXT, LIST = Tag("str"), Tag("list[]")
TEXT_OR_LIST = Discriminator(
    _branch,
    custom_error_type="text_or_list",
    custom_error_message="must be a text or a list",
)
"""Tells apart the union of `Annotated[str, TEXT]` and `Annotated[list[…], LIST]`."""


def _literals(model: type[BaseModel], key: str) -> list[Any]:
    """The values that a field of a model may have."""
    found: list[Any] = []
    waiting: list[Any] = [model.model_fields[key].annotation]
    while waiting:
        annotation = waiting.pop()
        inner: tuple[Any, ...] = get_args(annotation)
        if inner:
            waiting += inner
        else:
            found.append(annotation)
    return found
