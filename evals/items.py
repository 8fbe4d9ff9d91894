"""Questions with known answers, from JSON lines or from rows of any data set."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast

from rewards.answers.reading.statements import marked, usable

LETTERS = "ABCDEFGHIJ"
T = TypeVar("T")
_BOM = b"\xef\xbb\xbf"
_MAX_DIGITS = 4_000
_MOST_WRITTEN_OUT = 10**30
_ROW_NUMBER = "id|unique_id|question_id"
"""Columns without which the number of a row is its id."""


class DatasetInvalid(ValueError):
    """A data set cannot be used; the message names the file, the line and the column."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question: its prompt, the true answer, and a level ("" if there is none)."""

    id: str
    prompt: str
    answer: str
    level: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of a row. Of several names, separated by `|`, the first that the row has counts.

    `choices` names the columns of a multiple-choice question's options: one column with a list, or
    one for each option. With `shuffled`, the first is the right one, and they are shuffled by the
    row's id alone; else `answer` holds the letter. A row without an id has its number as one.
    `instruction` is appended to every prompt.
    """

    id: str = _ROW_NUMBER
    prompt: str = "prompt|question|problem"
    answer: str = "answer|label"
    level: str = "level|difficulty"
    _: KW_ONLY
    choices: tuple[str, ...] = ()
    shuffled: bool = False
    instruction: str = ""


def read_file(file: Path, layout: Layout) -> list[Item]:
    """The items of a file: one JSON list of objects, or an object a line, where empty lines are
    skipped. Raises DatasetInvalid."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetInvalid(f"{file}: {error.strerror}") from None
    start = data.removeprefix(_BOM).lstrip()[:2]
    listed = start[:1] == b"[" and start != b"[]"
    return items_of((_rows if listed else _lines)(file, data), layout, str(file))


def _lines(file: Path, data: bytes) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            where = f"{file}: line {number}"
            yield where, _object(_parsed(line, where), where)


def _rows(file: Path, data: bytes) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for number, row in enumerate(_parsed(data, str(file)), 1):
        where = f"{file}: row {number}"
        yield where, _object(row, where)


def _parsed(data: bytes, where: str) -> Any:
    """JSON whose numbers are exact, however large: integers, and Decimals for all others."""
    try:
        return json.loads(
            data.removeprefix(_BOM),
            parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else digits,
            parse_float=Decimal,
            parse_constant=_refused,
        )
    except (ValueError, RecursionError) as error:
        raise DatasetInvalid(f"{where}: not valid JSON: {error}") from None


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _object(row: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise DatasetInvalid(f"{where}: must be an object")
    return cast("Mapping[str, Any]", row)


def in_epochs(items: Sequence[T], seed: int | str, epochs: int | None = None) -> Iterator[T]:
    """The items again and again, without end if `epochs` is None, each time in another order."""
    rng = random.Random(seed)
    for _ in itertools.count() if epochs is None else range(epochs):
        yield from rng.sample(items, len(items))


def items_of(
    rows: Iterable[tuple[str, Mapping[str, Any]]], layout: Layout, source: str
) -> list[Item]:
    """Items of rows, each with a text that says where it is. Raises DatasetInvalid."""
    items: list[Item] = []
    seen: dict[str, str] = {}
    for number, (where, row) in enumerate(rows, 1):
        named = layout.id != _ROW_NUMBER or _name(layout.id, row) in row
        item = _item(where, row if named else {**row, "id": number}, layout)
        if item.id in seen:
            raise DatasetInvalid(
                f'{where}: column "{_name(layout.id, row)}": {item.id!r} is also the id at '
                f"{seen[item.id].rpartition(': ')[2]}"
            )
        seen[item.id] = where
        items.append(item)
    if not items:
        raise DatasetInvalid(f"{source}: has no rows")
    return items


def _item(where: str, row: Mapping[str, Any], layout: Layout) -> Item:
    key = _text(where, row, layout.id)
    prompt = _text(where, row, layout.prompt)
    if layout.choices:
        options = _options(where, row, layout)
        if layout.shuffled:
            order = list(range(len(options)))
            random.Random(key).shuffle(order)
            answer = LETTERS[order.index(0)]
            options = [options[index] for index in order]
        else:
            answer = _letter(where, row, layout.answer, len(options))
        listed = (f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))
        prompt = "\n".join([prompt, "", *listed])
    else:
        answer = _answer(where, row, layout.answer)
    names = [name for name in layout.level.split("|") if name in row]
    level = _text(where, row, names[0]) if names else ""
    return Item(key, prompt + layout.instruction, answer, level)


def _name(names: str, row: Mapping[str, Any]) -> str:
    return next((name for name in names.split("|") if name in row), names.split("|")[0])


def _text(where: str, row: Mapping[str, Any], names: str) -> str:
    """A column as non-empty text."""
    name = _name(names, row)
    if name not in row:
        there = ", ".join(map(str, row)) or "none"
        raise DatasetInvalid(f'{where}: column "{name}": is missing; there are {there}')
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise DatasetInvalid(f'{where}: column "{name}": must be text or a number')
    if isinstance(value, float | Decimal):
        exact = value if isinstance(value, Decimal) else Decimal(value)
        if not exact.is_finite():
            raise DatasetInvalid(f'{where}: column "{name}": {value} is no number')
        whole = abs(exact) < _MOST_WRITTEN_OUT and exact == int(exact)
        value = int(exact) if whole else value
    text = str(value).strip()
    if not text:
        raise DatasetInvalid(f'{where}: column "{name}": is empty')
    return text


def _answer(where: str, row: Mapping[str, Any], names: str) -> str:
    """The true answer, out of its box if it is in one."""
    text = _text(where, row, names)
    answer = marked(text).answer if "\\boxed" in text or "####" in text else usable(text)
    if answer is None:
        raise DatasetInvalid(
            f'{where}: column "{_name(names, row)}": no answer can be read from {text[:60]!r}'
        )
    return answer


def _letter(where: str, row: Mapping[str, Any], names: str, count: int) -> str:
    letter = _text(where, row, names).upper()
    if letter not in tuple(LETTERS[:count]):
        raise DatasetInvalid(
            f'{where}: column "{_name(names, row)}": {letter!r} is none of the {count} options'
        )
    return letter


def _options(where: str, row: Mapping[str, Any], layout: Layout) -> list[str]:
    name, *others = layout.choices or ("",)
    if others:
        return [_text(where, row, each) for each in layout.choices]
    options: Any = row.get(name)
    if not isinstance(options, Sequence) or isinstance(options, str):
        raise DatasetInvalid(f'{where}: column "{name}": must be a list of options')
    listed = cast("Sequence[Any]", options)
    if not 2 <= len(listed) <= len(LETTERS):
        raise DatasetInvalid(f'{where}: column "{name}": has {len(listed)} options')
    return [str(option).strip() for option in listed]
