"""Pinned tokens with the trainer's log-probabilities, shipped in every adapter folder.

The server asks the engine for the same numbers and so detects an ignored or stale adapter before it
answers anybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

FILE = "probe.json"


@dataclass(frozen=True, slots=True)
class ProbeSheet:
    """`sequences[i]` are token ids; `adapter[i]` and `base[i]` the natural log-probabilities, at
    temperature 1, of its tokens from `starts[i]` on: where the completion begins. Sheets of before
    have no `starts` and score from the second token on."""

    sequences: Sequence[Sequence[int]]
    adapter: Sequence[Sequence[float]]
    base: Sequence[Sequence[float]]
    starts: Sequence[int] = field(default_factory=list[int])

    def write(self, folder: Path) -> None:
        """Store in an adapter folder."""
        (folder / FILE).write_bytes(orjson.dumps(self))

    @staticmethod
    def read(folder: Path) -> "ProbeSheet":
        """Load from an adapter folder."""
        return ProbeSheet(**orjson.loads((folder / FILE).read_bytes()))

    def start(self, index: int) -> int:
        """The first scored token of a sequence."""
        return self.starts[index] if self.starts else 1
