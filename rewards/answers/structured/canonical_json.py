"""JSON of one form: keys in order, numbers by exact value, nothing that JSON does not know."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from rewards.answers.remembered import remembered

MAX_CHARS = 100_000
MAX_FIELDS = 2_000
_MAX_DEPTH = 100
_MAX_EXPONENT_DIGITS = 18
_PLAIN_DIGITS = 16
"""A number of fewer is written out."""
_LARGE = re.compile(rf"\d{{{_PLAIN_DIGITS}}}")
_MARK = "\ud800#"
_HALVES = re.compile(r"\\u[dD][89a-fA-F]")
"""Of characters above U+FFFF, which are two escapes; one alone is no character."""
_MARKED = re.compile(r'"\\ud800#([^"]*)"')
_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?")
_FENCE = re.compile(
    r"\s*```[ \t]*(?:json|JSON|json5|javascript)?[ \t]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL
)


class Number(str):
    """A number of JSON, exact: its digits and the power of ten, whatever its size."""

    __slots__ = ()


class NotJson(ValueError):
    """The text is not JSON, or too large or too deep to compare, or says one key twice."""


def unfenced(reply: str) -> str:
    """The reply, out of its fence if all of it is in one."""
    fence = _FENCE.fullmatch(reply)
    return (fence[1] if fence else reply).strip()


def parsed(text: str) -> Any:
    """The value of a JSON text, its numbers exact. Raises NotJson."""
    if len(text) > MAX_CHARS:
        raise NotJson("too long")
    try:
        value: Any = json.loads(
            text,
            parse_int=_exact,
            parse_float=_exact,
            parse_constant=_refused,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from None
    _check(value)
    if _HALVES.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise NotJson("half of a character") from None
    return value


def canonical(value: Any) -> str:
    """The one text of a parsed value."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        members = sorted(cast("dict[str, Any]", value).items())
        return "{" + ",".join(f"{json.dumps(key)}:{canonical(each)}" for key, each in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, cast("list[Any]", value))) + "]"
    return json.dumps(value)


def fields_of(value: Any, path: str = "") -> dict[str, str]:
    """The leaves of a parsed value, canonical, by path: `/a/0`. An empty list or object is one."""
    if isinstance(value, dict) and value:
        members = [(_step(key), each) for key, each in cast("dict[str, Any]", value).items()]
    elif isinstance(value, list) and value:
        members = [(str(at), each) for at, each in enumerate(cast("list[Any]", value))]
    else:
        return {path: canonical(value)}
    found: dict[str, str] = {}
    for step, each in members:
        found |= fields_of(each, f"{path}/{step}")
    return found


@remembered(most=2_048, longest=8_000)
def canonical_or_none(text: str) -> str | None:
    """The canonical form of a JSON text; None for anything else."""
    try:
        return _dumped(_loaded(text))
    except _Uncertain:
        pass
    except (ValueError, RecursionError):
        return None
    try:
        return canonical(parsed(text))
    except NotJson:
        return None


def canonical_items(text: str) -> list[str] | None:
    """The canonical form of each item of a JSON list; None for anything else."""
    try:
        value, write = _loaded(text), _dumped
    except (ValueError, RecursionError):
        try:
            value, write = parsed(text), canonical
        except NotJson:
            return None
    return [write(each) for each in cast("list[Any]", value)] if isinstance(value, list) else None


def canonical_text(text: str) -> str:
    """The canonical form of a JSON text; of anything else, the text itself."""
    found = canonical_or_none(text)
    return text if found is None else found


class _Uncertain(ValueError):
    """Not for the C encoder: large, deep, or with the mark of a number in a string."""


def _loaded(text: str) -> Any:
    """As `parsed`, with numbers as marked strings, for the C encoder. Raises ValueError,
    RecursionError."""
    if text.count(",") > MAX_FIELDS or text.count("[") + text.count("{") > _MAX_DEPTH:
        raise _Uncertain
    if _LARGE.search(text) or _MARK in text or _HALVES.search(text):
        raise _Uncertain
    return json.loads(
        text,
        parse_float=_marked,
        parse_constant=_refused,
        object_pairs_hook=_object,
    )


def _dumped(value: Any) -> str:
    """As `canonical`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return _MARKED.sub(r"\1", text)


def _marked(literal: str) -> str:
    return _MARK + _number(literal)


def _step(key: str) -> str:
    """A key in a path, as in JSON pointers (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _exact(literal: str) -> Number:
    return Number(_number(literal))


def _number(literal: str) -> str:
    """The one text of a number. Raises ValueError."""
    if len(literal) < _PLAIN_DIGITS and "e" not in literal and "E" not in literal:
        plain = literal.rstrip("0").rstrip(".") if "." in literal else literal
        return "0" if plain in ("-0", "") else plain
    match = _NUMBER.fullmatch(literal)
    if match is None:
        raise ValueError("not a number")
    sign, whole, decimals, exponent = match[1], match[2], match[3] or "", match[4] or "0"
    if len(exponent) > _MAX_EXPONENT_DIGITS:
        raise ValueError("an exponent of too many digits")
    significant = (whole + decimals).lstrip("0")
    digits = significant.rstrip("0")
    if not digits:
        return "0"
    power = int(exponent) - len(decimals) + len(significant) - len(digits)
    if power >= 0 and len(digits) + power < _PLAIN_DIGITS:
        return f"{sign}{digits}{'0' * power}"
    if power < 0 and max(len(digits), -power) < _PLAIN_DIGITS:
        digits = digits.zfill(1 - power)
        return f"{sign}{digits[:power]}.{digits[power:]}"
    return f"{sign}{digits}e{power}"


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _object(members: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("a key stands there twice")
    return found


def _check(value: Any) -> None:
    """Raises NotJson for more fields or levels than are compared."""
    level: list[Any] = [value]
    fields = 0
    for _ in range(_MAX_DEPTH):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += cast("dict[str, Any]", each).values()
            elif isinstance(each, list):
                inner += cast("list[Any]", each)
        fields += len(inner)
        if fields > MAX_FIELDS:
            raise NotJson("too many fields")
        if not inner:
            return
        level = inner
    raise NotJson("too deep")
