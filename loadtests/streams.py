"""Streams of planted candidates: what an acceptor is offered, and the truth that it cannot see.

A stream file is one JSON object; docs/gate.md describes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

NONE = -1
"""The answer of moves after which there is none."""

Shares = npt.NDArray[np.float64]
"""Probabilities [query, answer]; what is missing from 1 is no answer."""


class StreamInvalid(ValueError):
    """The stream file cannot be played; the message names the field."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StreamQuery(_Strict):
    """A query: its slice, the right answer's index, whether the operator has a label for it, and
    base's probabilities over its answers."""

    slice: str = ""
    right: int = Field(ge=0)
    labelled: bool = False
    base: list[float] = Field(min_length=1)

    @model_validator(mode="after")
    def _shares(self) -> "StreamQuery":
        if min(self.base) < 0 or sum(self.base) > 1 + 1e-6:
            raise ValueError("base must be probabilities")
        if self.right >= len(self.base):
            raise ValueError("right must be an index of base")
        return self


class StreamCandidate(_Strict):
    """A candidate: what it is in truth, and its moves `[query, share, answer]`, each of which moves
    that share of the then live policy's probability on a query to an answer; NONE is no answer."""

    truth: Literal["good", "harm", "null"]
    moves: list[tuple[int, float, int]] = []


class Stream(_Strict):
    """Rollouts a query, how often to play it, queries, and candidates in order."""

    rollouts: int = Field(default=8, ge=1)
    repetitions: int = Field(default=20, ge=1)
    queries: list[StreamQuery] = Field(min_length=1)
    candidates: list[StreamCandidate] = Field(min_length=1)

    @model_validator(mode="after")
    def _moves(self) -> "Stream":
        for number, candidate in enumerate(self.candidates):
            for query, share, answer in candidate.moves:
                if not 0 <= query < len(self.queries):
                    raise ValueError(f"candidates.{number}: there is no query {query}")
                if not 0 <= share <= 1:
                    raise ValueError(f"candidates.{number}: a share of {share} is not in [0, 1]")
                if not NONE <= answer < len(self.queries[query].base):
                    raise ValueError(f"candidates.{number}: query {query} has no answer {answer}")
        return self


def read_stream(file: Path) -> Stream:
    """The stream in a file. Raises StreamInvalid."""
    try:
        return Stream.model_validate_json(file.read_bytes())
    except OSError as error:
        raise StreamInvalid(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "stream"
        raise StreamInvalid(f"{file}, {field}: {first['msg']}") from None


@dataclass(frozen=True, slots=True)
class Planted:
    """A stream as arrays: base [query, answer], the right answers [query]."""

    stream: Stream
    base: Shares
    right: npt.NDArray[np.int64]

    @staticmethod
    def of(stream: Stream) -> "Planted":
        """The arrays of a stream."""
        width = max(len(query.base) for query in stream.queries)
        base = np.zeros((len(stream.queries), width))
        for row, query in enumerate(stream.queries):
            base[row, : len(query.base)] = query.base
        return Planted(stream, base, np.array([query.right for query in stream.queries]))

    def moved(self, live: Shares, candidate: StreamCandidate) -> Shares:
        """The candidate's policy, made from the live one."""
        moved = live.copy()
        for query, share, answer in candidate.moves:
            moved[query] *= 1 - share
            if answer != NONE:
                moved[query, answer] += share
        return moved

    def accuracy(self, policy: Shares) -> float:
        """The true chance that a rollout is right."""
        return float(policy[np.arange(len(policy)), self.right].mean())


_QUERIES, _LABELLED, _SLICES = 600, 200, 10


def _queries() -> list[StreamQuery]:
    """600 queries in ten slices, 65% of them right by consensus: base is right at 59%."""
    right, wrong = [0.8, 0.08, 0.06, 0.06], [0.2, 0.6, 0.1, 0.1]
    return [
        StreamQuery(
            slice=f"s{row % _SLICES}",
            right=0,
            labelled=row % (_QUERIES // _LABELLED) == 0,
            base=right if _knows(row) else wrong,
        )
        for row in range(_QUERIES)
    ]


def _knows(row: int) -> bool:
    """Whether base's consensus is right: in all of one slice, and in 61% of the others."""
    return _in_slice(row) or row * 7919 % 100 >= 39


def _moves(share: float, answer: int, where: Callable[[int], bool]) -> list[tuple[int, float, int]]:
    return [(row, share, answer) for row in range(_QUERIES) if where(row)]


def _everywhere(_row: int) -> bool:
    return True


def planted_streams(repetitions: int) -> dict[str, Stream]:
    """The streams of docs/gate.md by name."""
    worse = StreamCandidate(truth="harm", moves=_moves(0.0171, 3, _everywhere))
    better = StreamCandidate(truth="good", moves=_moves(0.85, 0, _everywhere))
    kinds: dict[str, Sequence[StreamCandidate]] = {
        "better everywhere": [better],
        "half of the wrong consensus mended": [
            StreamCandidate(
                truth="good", moves=_moves(0.9, 0, lambda row: not _knows(row) and row % 2 == 0)
            )
        ],
        "identical, 10 in a row": [StreamCandidate(truth="null")] * 10,
        "1 point worse, 50 times": [worse] * 50,
        "the same, after learning": [better, *[worse] * 50],
        "5 points worse": [StreamCandidate(truth="harm", moves=_moves(0.085, 3, _everywhere))],
        "confident in every wrong consensus": [
            StreamCandidate(truth="harm", moves=_moves(0.95, 1, lambda row: not _knows(row)))
        ],
        "one slice of ten falls from 80 to 0": [
            StreamCandidate(truth="harm", moves=_moves(1.0, 2, _in_slice))
        ],
        "the same, and better elsewhere": [
            StreamCandidate(
                truth="harm",
                moves=_moves(1.0, 2, _in_slice)
                + _moves(0.3, 0, lambda row: _knows(row) and not _in_slice(row)),
            )
        ],
        "broken JSON in half of a slice of ten": [
            StreamCandidate(truth="harm", moves=_moves(0.5, NONE, _in_slice))
        ],
        "the same, and better everywhere else": [
            StreamCandidate(
                truth="harm",
                moves=_moves(0.5, NONE, _in_slice)
                + _moves(0.85, 0, lambda row: not _in_slice(row)),
            )
        ],
        "one answer per question, a third of the right ones lost": [
            StreamCandidate(
                truth="harm",
                moves=_moves(0.97, 0, lambda row: _knows(row) and not _unlucky(row))
                + _moves(0.97, 2, lambda row: _knows(row) and _unlucky(row))
                + _moves(0.97, 1, lambda row: not _knows(row)),
            )
        ],
    }
    queries = _queries()
    return {
        name: Stream(
            repetitions=repetitions,
            queries=queries,
            candidates=list(candidates),
        )
        for name, candidates in kinds.items()
    }


def _unlucky(row: int) -> bool:
    return row * 104_729 % 97 % 3 == 1


def _in_slice(row: int) -> bool:
    return row % _SLICES == 3
