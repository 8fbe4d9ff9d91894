"""Answer kind `tool_calls`: which tools a rollout calls, with what."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from rewards.answers.kind import may_vote
from rewards.answers.remembered import remembered
from rewards.answers.structured.agreement import Fields, share_of_fields
from rewards.answers.structured.canonical_json import (
    NotJson,
    canonical,
    canonical_items,
    canonical_or_none,
    canonical_text,
    fields_of,
    parsed,
)
from rewards.answers.tally import Tally, tally_by
from rewards.rollouts import Rollout

NO_CALL = "[]"
"""The answer of a rollout that replies without a call."""

_MAX_CALLS = 128


class ToolCallAnswers:
    """The calls as one JSON list of names and arguments; in any order unless told that they do not
    run in `parallel`. A call whose arguments are no JSON object is no answer."""

    name = "tool_calls"

    def __init__(self, parallel: bool = True) -> None:
        self._parallel = parallel

    def read(self, rollout: Rollout) -> str | None:
        """The answer of a rollout, None if there is none."""
        if not may_vote(rollout) or len(rollout.calls) > _MAX_CALLS:
            return None
        if not rollout.calls:
            return NO_CALL if rollout.text.strip() else None
        calls: list[str] = []
        for call in rollout.calls:
            arguments = canonical_or_none(call.arguments.strip() or "{}")
            if arguments is None or not arguments.startswith("{"):
                return None
            calls.append(f'{{"arguments":{arguments},"name":{json.dumps(call.name)}}}')
        return "[" + ",".join(sorted(calls) if self._parallel else calls) + "]"

    def fields(self, answer: str) -> Fields:
        """A leaf for each call, and one for each argument, by path: `/weather/0/city`."""
        try:
            calls = parsed(answer)
        except NotJson:
            return {"": answer}
        if not isinstance(calls, list) or not calls:
            return {"": canonical(calls)}
        found: dict[str, str] = {}
        seen: Counter[str] = Counter()
        for at, call in enumerate(cast("list[Any]", calls)):
            if not isinstance(call, dict) or not isinstance(call.get("name"), str):
                return fields_of(calls)
            named = cast("dict[str, Any]", call)
            name = named["name"].replace("~", "~0").replace("/", "~1")
            path = f"/{name}/{seen[name]}" if self._parallel else f"/{at}/{name}"
            seen[name] += 1
            found[path] = "called"
            if named.get("arguments"):
                found |= fields_of(named["arguments"], path)
        return found

    def same(self, first: str, second: str) -> bool:
        """Whether two answers call the same."""
        return self._key(first) == self._key(second)

    def closeness(self, first: str, second: str) -> float:
        """The share of calls and arguments that agree."""
        if self.same(first, second):
            return 1.0
        return share_of_fields(self.fields(first), self.fields(second))

    def tally(self, answers: Sequence[str | None]) -> Tally:
        """Cluster M answers, whatever their order."""
        return tally_by(answers, self._key)

    def instant(self, answers: Sequence[str | None]) -> bool:
        """Nothing waits."""
        return True

    def _key(self, answer: str) -> str:
        return _in_any_order(answer) if self._parallel else canonical_text(answer)


@remembered(most=2_048, longest=8_000)
def _in_any_order(answer: str) -> str:
    """The canonical form of a list of calls, sorted."""
    items = canonical_items(answer)
    return canonical_text(answer) if items is None else "[" + ",".join(sorted(items)) + "]"
