"""The rollout buffer: where the server leaves groups and the learner takes them.

Delivery is at least once. A group stays pending until it is settled: trained, dropped with a
reason, or dead-lettered (invariant I1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rewards.rollouts import RolloutGroup

TRAINED = "trained"
DEAD = "dead"


class BufferUnavailable(Exception):
    """The buffer's server does not answer. Nothing is known of the operation's effect."""


class Append(StrEnum):
    """What became of an offered group."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    FULL = "buffer_full"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A group on loan. `group` is None if its bytes could not be read; `attempts` starts at 1."""

    entry: str
    group: RolloutGroup | None
    size: int
    attempts: int


@dataclass(frozen=True, slots=True)
class BufferState:
    """`waiting` entries not settled, their `size` in bytes, and totals by outcome."""

    waiting: int
    size: int
    totals: Mapping[str, int]


class RolloutBuffer(Protocol):
    """One producer side, one consumer. Every method may raise BufferUnavailable."""

    async def append(self, group: RolloutGroup) -> Append:
        """Keep a group, once per group id, unless the buffer is full."""
        ...

    async def read(self, count: int, wait: float) -> list[Delivery]:
        """Up to `count` groups, oldest first; waits up to `wait` seconds for the first one.

        A new consumer is first given what an earlier one left unsettled.
        """
        ...

    async def rewind(self) -> None:
        """Start over as a new consumer: everything unsettled is delivered again."""
        ...

    async def settle(self, deliveries: Sequence[Delivery], outcome: str) -> None:
        """Done with these: counts them under `outcome` and forgets them. Repeating is harmless."""
        ...

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Put a group that cannot be processed aside, with the reason, and settle it as dead."""
        ...

    async def state(self) -> BufferState:
        """Depth and totals."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
