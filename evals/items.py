"""Questions with known answers, from JSON lines or from rows of any data set."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import orjson

from rewards.answers.reading.statements import marked, usable

LETTERS = "ABCDEFGHIJ"
T = TypeVar("T")


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
    row's id alone; else `answer` holds the letter. `instruction` is appended to every prompt.
    """

    id: str = "id|unique_id|question_id"
    prompt: str = "prompt|question|problem"
    answer: str = "answer|label"
    level: str = "level|difficulty"
    _: KW_ONLY
    choices: tuple[str, ...] = ()
    shuffled: bool = False
    instruction: str = ""


def read_jsonl(file: Path, layout: Layout) -> list[Item]:
    """The items of a file, an object a line; empty lines are skipped. Raises DatasetInvalid."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise DatasetInvalid(f"{file}: {error.strerror}") from None

    def rows() -> Iterable[tuple[str, Mapping[str, Any]]]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{file}: line {number}"
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DatasetInvalid(f"{where}: not valid JSON: {error}") from None
            if not isinstance(row, dict):
                raise DatasetInvalid(f"{where}: must be an object")
            yield where, cast("Mapping[str, Any]", row)

    return items_of(rows(), layout, str(file))


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
    for where, row in rows:
        item = _item(where, row, layout)
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
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DatasetInvalid(f'{where}: column "{name}": must be text or a number')
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DatasetInvalid(f'{where}: column "{name}": {value} is no number')
        value = int(value) if value.is_integer() else value
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
