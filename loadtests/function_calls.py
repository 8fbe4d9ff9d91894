"""Questions that one function call answers, laid out as in the simple category of the Berkeley
Function Calling Leaderboard: which calls are right, and how a model is asked for one in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from evals.items import DatasetInvalid
from rewards.rollouts import ToolCall

_OMITTED = ""
"""Among the values of a parameter: it may be left out."""
_ASK = (
    "You can call this function:\n{function}\n\nQuestion: {question}\n\nReply with one JSON object "
    'and nothing else: {{"name": "{name}", "arguments": {{...}}}}'
)


@dataclass(frozen=True, slots=True)
class CallQuestion:
    """A question, the function that is there (name, description, parameters as JSON schema), and
    for each parameter of the right call the values that are right."""

    id: str
    text: str
    function: Mapping[str, Any]
    right: Mapping[str, Sequence[Any]]

    @property
    def name(self) -> str:
        """The function's."""
        return str(self.function["name"])

    @property
    def tool(self) -> dict[str, Any]:
        """The function as a client gives it."""
        return {"type": "function", "function": dict(self.function)}

    @property
    def prompt(self) -> str:
        """The question with the function in words, for a model that was taught no calls."""
        shown = json.dumps(self.function)
        return _ASK.format(function=shown, question=self.text, name=self.name)

    def answered_by(self, call: ToolCall) -> bool:
        """Whether a call is right: its name, each value among the right ones, nothing left out that
        must be there, nothing invented. Texts are the same without case and outer spaces."""
        arguments = _object(call.arguments)
        if call.name != self.name or arguments is None or arguments.keys() - self.right.keys():
            return False
        return all(
            any(_same(arguments[name], value) for value in values)
            if name in arguments
            else _OMITTED in values
            for name, values in self.right.items()
        )


def read_questions(file: Path) -> list[CallQuestion]:
    """The questions of a file with an object a line. Raises DatasetInvalid naming the line."""
    found: list[CallQuestion] = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        where = f"{file}: line {number}"
        try:
            row = json.loads(line)
            [function], [truth] = row["functions"], row["ground_truth"]
            [(name, right)] = truth.items()
            text = row["messages"][-1]["content"]
            if name != function["name"]:
                raise ValueError("the right call is of another function")
            schema = {**function["parameters"], "type": "object"}
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise DatasetInvalid(f"{where}: {type(error).__name__}: {error}") from None
        found.append(CallQuestion(row["id"], text, {**function, "parameters": schema}, right))
    return found


def call_in(text: str) -> ToolCall | None:
    """The first JSON object of a reply that has a name and arguments; None without."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            found: Any = decoder.raw_decode(text, at)[0]
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            named = cast("dict[str, Any]", found)
            if isinstance(named.get("name"), str) and isinstance(named.get("arguments"), dict):
                return ToolCall(named["name"], json.dumps(named["arguments"]))
        at = text.find("{", at + 1)
    return None


def _object(text: str) -> dict[str, Any] | None:
    try:
        found: Any = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _same(given: Any, value: Any) -> bool:
    if isinstance(given, str) and isinstance(value, str):
        return given.strip().casefold() == value.strip().casefold()
    if isinstance(given, bool) or isinstance(value, bool):
        return given is value
    return bool(given == value)
