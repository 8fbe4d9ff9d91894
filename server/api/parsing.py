"""Reads request bodies, and says what is wrong with one by the client's own fields.

pydantic reports each branch of a union that a value does not fit; a client gets one error, of the
branch that its value was meant for.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError

from rewards.answer_choice import ChoiceInvalid
from server.api.errors import ApiError
from server.api.field_rules.rule import FieldTable, admitted, shortened, unknown_field

M = TypeVar("M", bound=BaseModel)
_Error = Mapping[str, Any]
_MISMATCHES = {
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
}
"""What pydantic calls a value of another type -> what it should have been."""

_MAX_PASSENGER = 256 << 10
"""Characters of a field that is passed over."""
_MAX_FIELDS = 2_048
"""Of a body, and of each object in it."""
_MAX_DEPTH = 96
"""Levels of a body: what is kept of it is written again within more of them."""
_WRITABLE = 254
"""Levels that orjson writes."""


class FieldInvalid(ValueError):
    """A value that only the checks of a whole object, or of a whole list, can find wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        """Its place below what was checked, steps joined by dots."""


def check_passengers(given: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise FieldInvalid if fields that nobody reads, which clients keep with their messages, are
    too long to be that."""
    for name in given.keys() - known:
        value = given[name]
        if isinstance(value, list | dict):
            try:
                value = orjson.dumps(value)
            except TypeError:
                raise FieldInvalid(shortened(name), "is nested too deeply") from None
        if isinstance(value, str | bytes) and len(value) > _MAX_PASSENGER:
            raise FieldInvalid(shortened(name), "is not read, and too long to be passed over")


def parse(kind: type[M], body: bytes, *, ignore_unknown: bool = False) -> M:
    """A request body as a model; by its `table` of fields, if it has one. Raises ApiError with the
    first invalid field, never its value."""
    try:
        given: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is not valid JSON: line {error.lineno}") from None
    _check_depth(given, body)
    _check_width(given)
    table: FieldTable | None = getattr(kind, "table", None)
    if table is not None and isinstance(given, dict):
        given = admitted(table, cast("dict[str, Any]", given), ignore_unknown=ignore_unknown)
    while True:
        try:
            return kind.model_validate(given)
        except ValidationError as error:
            if not (ignore_unknown and _forget_unknown(error, given)):
                raise invalid(error, given) from None


def _check_depth(given: Any, body: bytes) -> None:
    """Raise ApiError for a body of too many levels, by the field that has them."""
    if body.count(b"[") + body.count(b"{") <= _MAX_DEPTH or not _is_deep(given):
        return
    fields = cast("dict[str, Any]", given).items() if isinstance(given, dict) else ()
    shown = next((shortened(name) for name, value in fields if _is_deep([value])), None)
    said = f"{shown}: nested too deeply" if shown else "the body is nested too deeply"
    raise ApiError(400, said, param=shown)


def _is_deep(value: Any) -> bool:
    for _ in range(_WRITABLE - _MAX_DEPTH):
        value = [value]
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False


def _check_width(given: Any) -> None:
    """Raise ApiError for an object of so many fields that a list of what is wrong is long."""
    if not isinstance(given, dict):
        return
    body = cast("dict[str, Any]", given)
    if len(body) > _MAX_FIELDS:
        raise ApiError(400, f"the body has more than {_MAX_FIELDS} fields")
    for name, value in body.items():
        if isinstance(value, dict) and len(cast("dict[str, Any]", value)) > _MAX_FIELDS:
            shown = shortened(name)
            message = f"{shown}: must have at most {_MAX_FIELDS} fields"
            raise ApiError(400, message, param=shown)


def invalid(error: ValidationError, given: Any) -> ApiError:
    """What a client gets for a field that is no good in what it has `given`: the first one."""
    errors = error.errors(include_input=False, include_url=False)
    paths = [_path(one, given) for one in errors]
    same = [at for at, path in enumerate(paths) if _on_one_line(path, paths[0])]
    deepest = max(len(paths[at]) for at in same)
    group = [at for at in same if len(paths[at]) == deepest]
    chosen = next((at for at in group if errors[at]["type"] not in _MISMATCHES), group[0])
    found, steps = errors[chosen], [shortened(step) for step in paths[chosen]]
    param = ".".join(steps) or None
    if found["type"] == "extra_forbidden":
        return unknown_field(".".join(paths[chosen]))
    if found["type"] in _MISMATCHES:
        wanted = dict.fromkeys(_MISMATCHES[errors[at]["type"]] for at in group)
        message = f"{'' if param else 'the body '}must be {' or '.join(wanted)}"
    elif found["type"] == "missing":
        message = "is required"
    else:
        message = found["msg"].removeprefix("Value error, ")
    return ApiError(400, f"{param}: {message}" if param else message, param=param)


def _path(error: _Error, given: Any) -> list[str]:
    """Where an error is, by steps that the client knows: not the branches of our types."""
    steps: list[str] = []
    at, loc = given, cast("Sequence[str | int]", error["loc"])
    for position, step in enumerate(loc):
        if isinstance(at, dict) and step in at:
            at = cast("dict[Any, Any]", at)[step]
        elif isinstance(at, list) and isinstance(step, int) and step < len(cast("list[Any]", at)):
            at = cast("list[Any]", at)[step]
        elif not (error["type"] == "missing" and position == len(loc) - 1):
            continue
        steps.append(str(step))
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, FieldInvalid) or (
        isinstance(cause, ChoiceInvalid) and cause.field != "kind"
    ):
        steps += cause.field.split(".")
    return steps


def _on_one_line(path: Sequence[str], other: Sequence[str]) -> bool:
    """Whether one of two paths begins with the other."""
    common = min(len(path), len(other))
    return path[:common] == other[:common]


def _forget_unknown(error: ValidationError, given: Any) -> bool:
    """Remove the fields that no model has from what was given; False if there are none."""
    removed = False
    for one in error.errors(include_url=False):
        if one["type"] == "extra_forbidden":
            *steps, last = _path(one, given)
            at: Any = given
            for step in steps:
                inside = cast("list[Any]", at)[int(step)] if isinstance(at, list) else at[step]
                at = inside
            removed = at.pop(last, at) is not at or removed
    return removed
