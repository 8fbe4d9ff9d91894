"""The rollout buffer: where the server leaves groups and the learner takes them.

Delivery is at least once. A group stays pending until it is settled: trained, dropped with a
reason, dead-lettered, expired or forgotten (invariant I1). Clients are named by their pseudonym.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rewards.rollouts import RolloutGroup

MAX_CRASHES = 3
"""Times that the learner may die while it works on a group alone."""


class BufferUnavailable(Exception):
    """The buffer's server does not answer. Nothing is known of the operation's effect."""


class Append(StrEnum):
    """What became of an offered group."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    FULL = "buffer_full"
    OPTED_OUT = "opted_out"


class Outcome(StrEnum):
    """How a group leaves the buffer. Totals and metrics count by it."""

    TRAINED = "trained"
    DEAD = "dead"
    UNANIMOUS = "dropped:unanimous"
    NO_LABEL = "dropped:no_label"
    STALE = "dropped:stale"
    TRUNCATED_SAMPLING = "dropped:truncated_sampling"
    CLIENT_QUOTA = "dropped:client_quota"
    NEAR_DUPLICATE = "dropped:near_duplicate"
    DIVERGED = "dropped:diverged"
    EXPIRED = "expired"
    FORGOTTEN = "forgotten"


class DeadReason(StrEnum):
    """Why a group is dead-lettered."""

    UNREADABLE = "unreadable"
    MALFORMED = "malformed"
    CRASHED = f"crashed the learner {MAX_CRASHES} times"
    NOT_SCORED = "cannot be scored"


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferLimits:
    """Payload bytes and groups above which a buffer refuses more; how long groups may wait, and how
    long trained ones are kept (`max_bytes` of them at most)."""

    max_bytes: int = 1 << 30
    max_groups: int = 50_000
    retention_seconds: float = 7 * 86_400.0
    keep_trained_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A group on loan. `group` is None if its bytes could not be read; `attempts`, the deliveries
    so far, starts at 1: more of them mean that a consumer left it behind, for whatever reason.

    A `replay` was trained on before, in versions that have been withdrawn since.
    """

    entry: str
    group: RolloutGroup | None
    size: int
    attempts: int
    replay: bool = False


@dataclass(frozen=True, slots=True)
class BufferState:
    """`waiting` entries not settled, their `size` in bytes, totals by outcome, and the age of the
    oldest entry; 0 if there is none."""

    waiting: int
    size: int
    totals: Mapping[str, int]
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Groups of a client that were removed: waiting, dead-lettered, kept after training."""

    waiting: int
    dead: int
    kept: int


class RolloutBuffer(Protocol):
    """One producer side, one consumer. Every method may raise BufferUnavailable."""

    async def append(self, group: RolloutGroup) -> Append:
        """Keep a group, once per group id, unless the buffer is full or its client opted out."""
        ...

    async def append_all(self, groups: Sequence[RolloutGroup]) -> list[Append]:
        """The same for several at once, in order."""
        ...

    async def read(self, count: int, wait: float) -> list[Delivery]:
        """Up to `count` groups, oldest first; waits up to `wait` seconds for the first one.

        A new consumer is first given what an earlier one left unsettled.
        """
        ...

    async def rewind(self) -> None:
        """Start over as a new consumer: everything unsettled is delivered again."""
        ...

    async def hold(self, delivery: Delivery) -> int:
        """Note that work on this group alone begins. Returns how often it had begun before without
        `let_go` after it: as often as the consumer died of it."""
        ...

    async def let_go(self, delivery: Delivery) -> None:
        """Work on this group alone is over, and the consumer alive."""
        ...

    async def settle(self, deliveries: Sequence[Delivery], outcome: Outcome) -> None:
        """Remove these and count them under `outcome`; keep trained ones for a while if the buffer
        is to. Repeating is harmless."""
        ...

    async def dead_letter(self, delivery: Delivery, reason: DeadReason, detail: str = "") -> None:
        """Move a group that cannot be processed to the dead letters and settle it as dead. The
        letter carries `detail`, such as an error, in place of the reason if there is one."""
        ...

    async def expire(self) -> int:
        """Settle what has waited too long as expired; drop dead letters and kept groups that are
        too old. Returns how many groups expired."""
        ...

    async def forget(self, client: str) -> Forgotten:
        """Remove every group of a client. Those that waited are counted as forgotten."""
        ...

    async def replay(self, group_ids: Collection[str]) -> int:
        """Let those of these groups that are kept wait once more, as replays. They do not count as
        trained any longer. Returns how many there were."""
        ...

    async def opt_out(self, client: str) -> None:
        """Keep nothing of this client from now on."""
        ...

    async def opt_in(self, client: str) -> None:
        """Undo `opt_out`."""
        ...

    async def opted_out(self) -> frozenset[str]:
        """All clients that have opted out."""
        ...

    async def state(self) -> BufferState:
        """Depth and totals."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
