"""The rules of fields: what the server does with each, and the one place that carries them out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeAlias

from server.api.errors import ApiError

_SHOWN_CHARS = 64
"""Of a field's name in an error."""


class Use(StrEnum):
    """What is done with a field."""

    ACCEPTED = "accepted"
    """The server reads it."""
    PASSED_ON = "passed on"
    """The engine gets it."""
    IGNORED = "ignored"
    """A hint that changes no answer; any value is taken, and dropped."""
    REFUSED = "refused"
    """It would change the answer, and cannot be honoured: a 400 that says why."""


class Reach(StrEnum):
    """Which rollouts a field that is passed on shapes."""

    ALL = "every rollout"
    SINGLE = "a single rollout only"
    """In a vote the server samples by rules of its own."""
    MAKES_SINGLE = "makes it a single rollout"
    """No vote can give what it asks for, so the request is passed through."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """The rule of one field. `origin`: whose API documents it. `note` is for docs/api.md; of a
    refused field it is the 400's message. `alters`: with it, rollouts no longer come from the
    model's own distribution. Neither counts for the values that are `harmless`."""

    use: Use
    origin: str
    note: str = ""
    reach: Reach = Reach.ALL
    alters: bool = False
    harmless: tuple[Any, ...] = ()

    def takes(self, value: Any) -> bool:
        """Whether a value is among the harmless ones, as JSON has it: 1.0 is 1, but true is not."""
        flag = isinstance(value, bool)
        return any(flag is isinstance(one, bool) and value == one for one in self.harmless)


FieldTable: TypeAlias = Mapping[str, FieldRule]
"""Field name -> its rule. Null stands for "not given" in every field of a table."""


def fields(rule: FieldRule, names: str, note: str | None = None) -> dict[str, FieldRule]:
    """Rows of a table: the fields with these names, separated by spaces, under one rule."""
    noted = rule if note is None else replace(rule, note=note)
    return dict.fromkeys(names.split(), noted)


def admitted(table: FieldTable, body: Mapping[str, Any], *, ignore_unknown: bool) -> dict[str, Any]:
    """What is left of a request's fields to be read: no nulls, no hints. Raises ApiError for a
    field that is refused, or, unless `ignore_unknown`, is in no table."""
    kept: dict[str, Any] = {}
    for name, value in body.items():
        rule = table.get(name)
        if rule is None:
            if not ignore_unknown:
                raise unknown_field(name)
        elif value is None or rule.use is Use.IGNORED:
            continue
        elif rule.use is Use.REFUSED:
            if not rule.takes(value):
                raise ApiError(400, f"{name}: {rule.note}", param=name, code="unsupported_field")
        else:
            kept[name] = value
    return kept


def unknown_field(path: str) -> ApiError:
    """The error for a field that neither we nor the engine know."""
    shown = shortened(path)
    return ApiError(400, f"Unknown field: {shown}", param=shown, code="unknown_field")


def shortened(name: str) -> str:
    """A client's name for something, as an error may repeat it."""
    return name if len(name) <= _SHOWN_CHARS else name[:_SHOWN_CHARS] + "…"


def makes_single(table: FieldTable, given: Mapping[str, Any]) -> bool:
    """Whether a field that was given asks for what no vote has."""
    return any(
        table[name].reach is Reach.MAKES_SINGLE and value is not None and value is not False
        for name, value in given.items()
    )


def alters_sampling(table: FieldTable, given: Mapping[str, Any]) -> bool:
    """Whether a field that was given changes the distribution that rollouts come from."""
    return any(
        table[name].alters and value is not None and not table[name].takes(value)
        for name, value in given.items()
    )


def passed_on(table: FieldTable, *, single: bool) -> frozenset[str]:
    """Names of the fields that go to the engine with a vote's rollouts, or with a `single` one."""
    return frozenset(
        name
        for name, rule in table.items()
        if rule.use is Use.PASSED_ON and (single or rule.reach is Reach.ALL)
    )


def schema_of(table: FieldTable) -> dict[str, dict[str, Any]]:
    """JSON Schema of the fields of a table that no model has: hints, and what is refused."""
    described: dict[str, dict[str, Any]] = {}
    for name, rule in table.items():
        if rule.use is Use.IGNORED:
            described[name] = {"description": f"Ignored. {rule.note}".strip()}
        elif rule.use is Use.REFUSED:
            values = {"enum": [None, *rule.harmless]}
            described[name] = {**values, "description": f"Not supported: {rule.note}."}
    return described
