"""The rollout buffer: the server appends groups, the learner reads them.

Delivery is at least once. A group stays pending until it is settled: trained, dropped with a
reason, dead-lettered, expired or forgotten (invariant I1). Clients are named by their pseudonym.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rewards.rollouts import RolloutGroup

MAX_CRASHES = 3
"""Times that the learner may die while it works on one group alone."""


class BufferUnavailable(Exception):
    """The buffer's server does not answer. The operation may or may not have taken effect."""


class Append(StrEnum):
    """What became of an offered group."""

    RECORDED = "recorded"
    DUPLICATE = "duplicate"
    FULL = "buffer_full"
    OPTED_OUT = "opted_out"
    TOO_LARGE = "too_large"


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
    TOO_LARGE = "dropped:too_large"
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
    """Payload bytes and groups above which a buffer refuses more, how long groups may wait, and how
    long trained ones are kept, up to `max_bytes` of them."""

    max_bytes: int = 1 << 30
    max_groups: int = 50_000
    retention_seconds: float = 7 * 86_400.0
    keep_trained_seconds: float = 0.0

    def bytes_kept(self, outcome: Outcome) -> int:
        """Payload bytes to keep of groups that leave with this outcome."""
        keeps = outcome is Outcome.TRAINED and self.keep_trained_seconds
        return self.max_bytes if keeps else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A group read but not settled. `group` is None if its bytes are unreadable. `attempts` counts
    its deliveries: more than 1 means that a consumer left it unsettled. A `replay` was trained on
    before, in versions withdrawn since."""

    entry: str
    group: RolloutGroup | None
    size: int
    attempts: int
    replay: bool = False


@dataclass(frozen=True, slots=True)
class BufferState:
    """Unsettled entries, their size in bytes, totals by outcome, age of the oldest entry (or 0)."""

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


DEAD_BYTES, DETAIL_CHARS = 64 << 20, 1_000
"""Dead letters are kept up to so many bytes, the newest, or as many as groups may have; of an error
so many characters."""
ATTENDANCE_SECONDS = 10.0
"""A server that has not attended for so long is gone."""


class RolloutBuffer(Protocol):
    """One producer side, one consumer. Every method may raise BufferUnavailable."""

    async def append(self, group: RolloutGroup) -> Append:
        """Keep a group, once per id, unless the buffer is full or its client has opted out."""
        ...

    async def append_all(self, groups: Sequence[RolloutGroup]) -> list[Append]:
        """Append several, in order."""
        ...

    async def read(self, count: int, wait: float) -> list[Delivery]:
        """Up to `count` groups, replays before all others, which would never come up while traffic
        is busy; then the newest first, so that a consumer that cannot follow learns from the latest
        policy. Waits up to `wait` seconds for the first one. A new consumer first gets
        what an earlier one left unsettled, the oldest first."""
        ...

    async def drop_unread(self, keep: Collection[int], outcome: Outcome) -> int:
        """Settle what nobody has read and never will: the oldest groups, up to the first one whose
        policy version is in `keep`. Replays stay. Returns how many."""
        ...

    async def rewind(self) -> None:
        """Start over as a new consumer: everything unsettled is delivered again."""
        ...

    async def hold(self, delivery: Delivery) -> int:
        """Note that work on this group alone begins. Returns how many times it began before without
        `release` after it, that is, with the consumer dying of it."""
        ...

    async def release(self, delivery: Delivery) -> None:
        """Undo `hold`: the work is over and the consumer alive."""
        ...

    async def settle(self, deliveries: Sequence[Delivery], outcome: Outcome) -> None:
        """Remove these and count them under `outcome`; trained ones may be kept for replay. Can be
        repeated."""
        ...

    async def dead_letter(self, delivery: Delivery, reason: DeadReason, detail: str = "") -> None:
        """Move a group that cannot be processed to the dead letters and settle it as dead. The
        letter carries `detail`, such as an error, in place of the reason if there is one."""
        ...

    async def expire(self) -> int:
        """Settle groups that have waited too long as expired; delete dead letters and kept groups
        that are too old. Returns how many groups expired."""
        ...

    async def forget(self, client: str) -> Forgotten:
        """Remove every group that has this pseudonym; the waiting ones count as forgotten."""
        ...

    async def replay(self, group_ids: Collection[str]) -> int:
        """Append those of these groups that are kept again, as replays; they no longer count as
        trained. Returns how many."""
        ...

    async def opt_out(self, client: str) -> None:
        """Refuse this client's groups from now on."""
        ...

    async def opt_in(self, client: str) -> None:
        """Undo `opt_out`."""
        ...

    async def opted_out(self) -> frozenset[str]:
        """Pseudonyms of clients, and of holders with all their users, that have opted out."""
        ...

    async def attend(self, server: str) -> None:
        """Note that this server is there and follows opt-outs."""
        ...

    async def confirm(self, server: str, client: str, removed: Mapping[str, int]) -> None:
        """Note what this server has removed from its memory of a client that has opted out."""
        ...

    async def confirmations(self, client: str) -> Mapping[str, Mapping[str, int] | None]:
        """What each server that is there has removed of this client, None if it has not said."""
        ...

    async def state(self) -> BufferState:
        """Depth and totals."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
