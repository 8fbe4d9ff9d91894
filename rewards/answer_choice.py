"""Which kind of answer a question asks for: chosen once a request, stored in its group."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, cast

MAX_PATTERN_BYTES = 1_000
MAX_OPTIONS = 256
MAX_OPTION_CHARS = 200


class ChoiceInvalid(ValueError):
    """A choice that cannot be used; the message begins with `field`, the one to change."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


@dataclass(frozen=True, slots=True)
class AnswerChoice:
    """The name of an answer kind, and its options: `rewards.answers.kinds` has the kind itself.

    `options` are those of a `choice`, without any it is a letter; `pattern` is the regular
    expression of a `pattern`; `last_number` lets `math` take the last number of a text that marks
    no answer; without `parallel`, the order of `tool_calls` matters.
    """

    kind: str = "auto"
    _: KW_ONLY
    options: tuple[str, ...] = ()
    pattern: str | None = None
    last_number: bool = False
    parallel: bool = True

    def to_json(self) -> dict[str, Any]:
        """A small JSON object, without what is as usual."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        usual = {each.name: each.default for each in fields(self)}
        return {
            name: list(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else value
            for name, value in given.items()
            if name == "kind" or value != usual[name]
        }

    @classmethod
    def from_json(cls, value: object) -> "AnswerChoice":
        """A choice from JSON: a name, or an object as `to_json` makes it. Types and sizes are
        checked here, the rest by `AnswerKinds.of`. Raises ChoiceInvalid."""
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, Mapping):
            raise ChoiceInvalid("kind", "must be a name, or an object with a kind")
        given = cast("Mapping[Any, Any]", value)
        for name in given:
            if name not in _OWNERS and name != "kind":
                raise ChoiceInvalid(str(name)[:40], "is not known")
        kind = given.get("kind")
        if not isinstance(kind, str):
            raise ChoiceInvalid("kind", "must be a name")
        for name, owner in _OWNERS.items():
            if given.get(name) is not None and owner != kind:
                raise ChoiceInvalid(name, f'is for the kind "{owner}" alone')
        return cls(
            kind,
            options=_options(given.get("options")),
            pattern=_pattern(given.get("pattern")),
            last_number=_flag(given, "last_number", False),
            parallel=_flag(given, "parallel", True),
        )


_OWNERS: Mapping[str, str] = {
    "options": "choice", "pattern": "pattern", "last_number": "math", "parallel": "tool_calls",
}  # fmt: skip
"""The kind that each field is for."""

MATH_OR_LAST_NUMBER = AnswerChoice("math", last_number=True)
"""What groups were read by before they had a choice."""


def _options(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ChoiceInvalid("options", "must be a list of texts")
    listed = cast("Sequence[Any]", value)
    if not 2 <= len(listed) <= MAX_OPTIONS:
        raise ChoiceInvalid("options", f"must be 2 to {MAX_OPTIONS}, not {len(listed)}")
    for option in listed:
        if not isinstance(option, str) or not 0 < len(option) <= MAX_OPTION_CHARS:
            raise ChoiceInvalid("options", f"must be texts of 1 to {MAX_OPTION_CHARS} characters")
    return tuple(listed)


def _pattern(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise ChoiceInvalid("pattern", "must be a regular expression")
    if len(value.encode(errors="replace")) > MAX_PATTERN_BYTES:
        raise ChoiceInvalid("pattern", f"must be at most {MAX_PATTERN_BYTES} bytes")
    return value


def _flag(given: Mapping[str, Any], name: str, usual: bool) -> bool:
    value = given.get(name)
    if value is None:
        return usual
    if not isinstance(value, bool):
        raise ChoiceInvalid(name, "must be true or false")
    return value
