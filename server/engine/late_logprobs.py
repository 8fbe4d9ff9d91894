"""Log-probabilities of a long rollout, kept as JSON until somebody wants them.

As objects they are two for every token, and a garbage collection then takes longer than any reply
may wait; of the rollouts of a vote, most are never asked for them.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import orjson


class LateLogprobs(Mapping[str, Any]):
    """The `logprobs` objects of a choice's chunks as one: each of their fields is a list."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = parts

    def __getitem__(self, field: str) -> Any:
        return self._joined[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self._joined)

    def __len__(self) -> int:
        return len(self._joined)

    @cached_property
    def _joined(self) -> dict[str, Any]:
        joined: dict[str, Any] = {}
        for part in self._parts:
            for field, values in orjson.loads(part).items():
                joined.setdefault(field, []).extend(values or ())
        return joined


def values_of(logprobs: Mapping[str, Any]) -> "array[float]":
    """The log-probabilities of the tokens of a chat's or a text's choice."""
    if "content" in logprobs:
        return array("f", [token["logprob"] for token in logprobs["content"]])
    return array("f", logprobs["token_logprobs"])


def tops_of(logprobs: Mapping[str, Any]) -> Sequence[tuple[float, ...]]:
    """Those of the likeliest tokens, [T][k]."""
    if "content" in logprobs:
        return [
            tuple(top["logprob"] for top in token["top_logprobs"]) for token in logprobs["content"]
        ]
    return [tuple(tops.values()) for tops in logprobs.get("top_logprobs") or ()]
