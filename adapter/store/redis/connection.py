"""The one place that reaches Redis or Valkey and maps its errors to ours."""

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from adapter.store.buffer import BufferUnavailable

# All of Ratchet's keys. The braces put them into one slot of a Redis cluster.
GROUPS = "{ratchet}:groups"  # stream of packed groups; fields: see buffer_scripts.py
GROUPS_BYTES = "{ratchet}:groups:bytes"  # payload bytes in the stream
GROUPS_TOTALS = "{ratchet}:groups:totals"  # hash outcome -> count
GROUPS_SEEN = "{ratchet}:groups:seen:"  # + group id: for deduplication, expires
GROUPS_HELD = "{ratchet}:groups:held"  # hash entry -> times a learner began work on it alone
GROUPS_DEAD = "{ratchet}:groups:dead"  # stream of groups that could not be processed
GROUPS_KEPT = "{ratchet}:groups:kept"  # stream of groups kept for a while after training
GROUPS_KEPT_BYTES = "{ratchet}:groups:kept:bytes"  # payload bytes in it
OPTED_OUT = "{ratchet}:opted_out"  # set of pseudonyms of clients that have opted out
SERVERS = "{ratchet}:servers"  # sorted set of servers that follow opt-outs, by the time last seen
FORGOTTEN = "{ratchet}:forgotten:"  # + pseudonym: hash server -> JSON of what it removed; expires
RELEASES = "{ratchet}:releases"  # hash version -> JSON record
LIVE = "{ratchet}:live"  # version being served
NEXT_VERSION = "{ratchet}:next_version"  # last version number given out
TRAINED = "{ratchet}:trained"  # sorted set of group ids in a release, by time
LEDGER = "{ratchet}:ledger"  # stream, never trimmed: every change of a release, hash-chained
PAUSED = "{ratchet}:paused"  # why judging is paused; absent if it is not
JUDGE = "{ratchet}:judge"  # lease of the one server that judges: its name
TRIED = "{ratchet}:tried"  # hash candidate being tried -> times the engine has ended meanwhile
LEARNER = "{ratchet}:learner"  # lease of the single learner: its fencing token
FENCE = "{ratchet}:fence"  # last fencing token given out


class NoConsumerGroup(Exception):
    """The stream or its consumer group does not exist."""


def connect(url: str, timeout: float = 1.0) -> Any:
    """A client that does not retry and fails within `timeout` seconds. Replies may take 5 s more,
    because reads block on the server for that long."""
    return Redis.from_url(
        url,
        protocol=2,
        socket_connect_timeout=timeout,
        socket_timeout=timeout + 5.0,
        retry=Retry(NoBackoff(), 0),
    )


async def reach(reply: Any) -> Any:
    """Await a Redis reply. Raises BufferUnavailable, NoConsumerGroup.

    In Python 3.11 asyncio.wait_for, which the client uses, loses a cancellation that meets the
    reply: it is raised here.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        result = await reply
    except (RedisError, OSError, TimeoutError) as error:
        if str(error).startswith("NOGROUP"):
            raise NoConsumerGroup from None
        raise BufferUnavailable(f"{type(error).__name__}: {error}") from None
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return result
