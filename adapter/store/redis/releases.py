"""The release store on Redis. Each change of more than one key is one script, hence atomic."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from adapter.store.judgement import StepVerdict
from adapter.store.ledger import LedgerEntry, LedgerKeyFile, LedgerKeyUnusable, entry_after
from adapter.store.redis import connection as keys
from adapter.store.redis import release_scripts as scripts
from adapter.store.redis.connection import connect, reach
from adapter.store.releases import (
    BASE,
    CLOSED,
    AdapterRelease,
    Fenced,
    ReleaseState,
    UnknownRelease,
)

_TRAINED_SECONDS = 7 * 86_400

_AGAIN = -1


class RedisReleases:
    """Shared by any number of servers and one learner. With a `key_file` the ledger is
    authenticated from the first publication on."""

    def __init__(self, url: str, key_file: LedgerKeyFile | None = None) -> None:
        self._redis: Any = connect(url)
        self._key_file = key_file

    async def acquire(self, ttl: float) -> int | None:
        token = await self._run(scripts.ACQUIRE, [keys.LEARNER, keys.FENCE], round(ttl * 1000))
        return int(token) or None

    async def take_over(self, ttl: float) -> int:
        token = await self._run(scripts.TAKE_OVER, [keys.LEARNER, keys.FENCE], round(ttl * 1000))
        return int(token)

    async def renew(self, token: int, ttl: float) -> bool:
        return bool(await self._run(scripts.RENEW, [keys.LEARNER], token, round(ttl * 1000)))

    async def resign(self, token: int) -> None:
        await self._run(scripts.RESIGN, [keys.LEARNER], token)

    async def reserve(self) -> int:
        return int(await reach(self._redis.incr(keys.NEXT_VERSION)))

    async def publish(self, release: AdapterRelease, token: int) -> None:
        record = release.to_json()
        names = [keys.LEARNER, keys.RELEASES, keys.TRAINED]
        accepted, tries = _AGAIN, 0
        first = self._key_file is not None and self._key_file.read() is None
        while accepted == _AGAIN:
            head, tries = await self._head(), tries + 1
            if first and self._key_file is not None:
                # Made again where a server without it was faster: it is for what comes after.
                self._key_file.make(head[1], again=tries > 1)
            accepted = await self._change(
                head, scripts.PUBLISH, names,
                [token, release.version, record, _TRAINED_SECONDS, *release.sample_ids],
                event="published", version=release.version, live=await self.live(), record=record,
            )  # fmt: skip
        if not accepted:
            raise Fenced(f"lease {token} is over: another learner may be at work")

    async def trained(self, group_ids: Sequence[str]) -> set[str]:
        if not group_ids:
            return set()
        scores = await reach(self._redis.zmscore(keys.TRAINED, list(group_ids)))
        return {gid for gid, score in zip(group_ids, scores, strict=True) if score is not None}

    async def live(self) -> int:
        return int(await reach(self._redis.get(keys.LIVE)) or BASE)

    async def get(self, version: int) -> AdapterRelease:
        return AdapterRelease.from_json(await self._text(version))

    async def all(self) -> list[AdapterRelease]:
        texts = await reach(self._redis.hvals(keys.RELEASES))
        return sorted(map(AdapterRelease.from_json, texts), key=lambda release: release.version)

    async def promote(
        self, version: int, expected: int, reason: str, steps: Sequence[StepVerdict] = ()
    ) -> bool:
        moved = _AGAIN
        while moved == _AGAIN:
            head = await self._head()
            if await self.live() != expected:
                return False
            promoted, retired = b"", b""
            if version != BASE:
                release = await self.get(version)
                if release.state in CLOSED:
                    return False
                promoted = release.promoted(reason, steps).to_json()
            if expected not in (BASE, version):
                retired = (await self.get(expected)).retired().to_json()
            moved = await self._change(
                head, scripts.PROMOTE, [keys.LIVE, keys.RELEASES],
                [version, expected, promoted, retired], event="promoted", version=version,
                live=version, record=promoted or None, note=reason,
            )  # fmt: skip
        return bool(moved)

    async def reject(self, version: int, reason: str, steps: Sequence[StepVerdict] = ()) -> None:
        await self._close(
            version, "rejected", reason, [ReleaseState.CANDIDATE],
            lambda release: release.rejected(reason, steps),
        )  # fmt: skip

    async def withdraw(self, version: int, reason: str) -> bool:
        return await self._close(
            version, "withdrawn", reason, [ReleaseState.CANDIDATE, ReleaseState.RETIRED],
            lambda release: release.withdrawn(reason),
        )  # fmt: skip

    async def untrain(self, group_ids: Sequence[str]) -> None:
        if group_ids:
            await reach(self._redis.zrem(keys.TRAINED, *group_ids))

    async def pause(self, reason: str | None) -> None:
        event = "resumed" if reason is None else "paused"
        moved = _AGAIN
        while moved == _AGAIN:
            head, live = await self._head(), await self.live()
            record = None if live == BASE else (await self.get(live)).to_json()
            moved = await self._change(
                head, scripts.PAUSE, [keys.PAUSED], [reason or ""], event=event, version=live,
                live=live, record=record, note=reason or "",
            )  # fmt: skip

    async def paused(self) -> str | None:
        reason = await reach(self._redis.get(keys.PAUSED))
        return None if reason is None else reason.decode()

    async def judges(self, server: str, ttl: float) -> bool:
        return bool(await self._run(scripts.JUDGES, [keys.JUDGE], server, round(ttl * 1000)))

    async def tried(self, version: int) -> int | None:
        noted = await reach(self._redis.hget(keys.TRIED, str(version)))
        return None if noted is None else int(noted)

    async def note_trial(self, version: int, ends: int | None) -> None:
        if ends is None:
            await reach(self._redis.hdel(keys.TRIED, str(version)))
        else:
            await reach(self._redis.hset(keys.TRIED, str(version), str(ends)))

    async def ledger(self) -> list[LedgerEntry]:
        entries = await reach(self._redis.xrange(keys.LEDGER))
        return [LedgerEntry.from_json(fields[b"e"]) for _, fields in entries]

    async def wait(self, seen: str, seconds: float) -> str:
        newest, _ = await self._head()
        if newest == seen:
            block = max(1, round(seconds * 1000))
            await reach(self._redis.xread({keys.LEDGER: seen or "0"}, count=1, block=block))
            newest, _ = await self._head()
        return newest

    async def close(self) -> None:
        await self._redis.aclose()

    async def _close(
        self, version: int, event: str, reason: str, states: Sequence[ReleaseState],
        closed: Callable[[AdapterRelease], AdapterRelease],
    ) -> bool:  # fmt: skip
        """Close a release that is in one of `states`; False if it is in another."""
        moved = _AGAIN
        while moved == _AGAIN:
            head = await self._head()
            release = await self.get(version)
            if release.state not in states:
                return False
            record = closed(release).to_json()
            moved = await self._change(
                head, scripts.CLOSE, [keys.RELEASES], [version, record], event=event,
                version=version, live=await self.live(), record=record, note=reason,
            )  # fmt: skip
        return True

    async def _text(self, version: int) -> bytes:
        text = await reach(self._redis.hget(keys.RELEASES, str(version)))
        if text is None:
            raise UnknownRelease(f"there is no version {version}")
        return text

    async def _head(self) -> tuple[str, LedgerEntry | None]:
        """Id and content of the newest ledger entry; an empty id if there is none."""
        newest = await reach(self._redis.xrevrange(keys.LEDGER, count=1))
        if not newest:
            return "", None
        entry_id, fields = newest[0]
        return entry_id.decode(), LedgerEntry.from_json(fields[b"e"])

    async def _change(
        self, head: tuple[str, LedgerEntry | None], script: str, names: Sequence[str],
        arguments: Sequence[Any], **entered: Any,
    ) -> int:  # fmt: skip
        """Make a change and append it to the ledger, as `entry_after` has it; -1 if `head` is no
        longer its head."""
        entry_id, last = head
        key = self._key_file.read() if self._key_file else None
        if key is None and last is not None and last.key and self._key_file:
            raise LedgerKeyUnusable(f"{self._key_file.path} is gone, and the ledger needs it")
        entry = entry_after(last, at=time.time(), key=key, **entered)
        whole = scripts.GUARD + script + scripts.APPEND
        names = [keys.LEDGER, *names]
        return int(await self._run(whole, names, entry_id, entry.to_json(), *arguments))

    async def _run(self, script: str, names: Sequence[str], *arguments: Any) -> Any:
        return await reach(self._redis.eval(script, len(names), *names, *arguments))
