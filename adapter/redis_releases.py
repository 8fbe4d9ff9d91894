"""The release store on Redis: each change of more than one key is one script, hence atomic."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from adapter import redis_connection as keys
from adapter.redis_connection import connect, reach
from adapter.releases import BASE, AdapterRelease, Fenced, ReleaseState, UnknownRelease

_TRAINED_SECONDS = 7 * 86_400

_ACQUIRE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token
"""

_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

_RESIGN = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

_PUBLISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
for i = 6, #ARGV do redis.call('ZADD', KEYS[3], ARGV[4], ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[5])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100, '*', 'v', ARGV[2])
return 1
"""

# New records are written by the caller; the scripts check that nothing changed since it read them.
_PROMOTE = """
if (redis.call('GET', KEYS[1]) or '0') ~= ARGV[2] then return 0 end
if ARGV[1] ~= '0' then
  if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[3] then return 0 end
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], ARGV[2], ARGV[5]) end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 100, '*', 'v', ARGV[1])
return 1
"""

_REJECT = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100, '*', 'v', ARGV[1])
return 1
"""


class RedisReleases:
    """Shared by any number of servers and one learner."""

    def __init__(self, url: str) -> None:
        self._redis: Any = connect(url)

    async def acquire(self, ttl: float) -> int | None:
        token = await self._run(_ACQUIRE, [keys.LEARNER, keys.FENCE], round(ttl * 1000))
        return int(token) or None

    async def renew(self, token: int, ttl: float) -> bool:
        return bool(await self._run(_RENEW, [keys.LEARNER], token, round(ttl * 1000)))

    async def resign(self, token: int) -> None:
        await self._run(_RESIGN, [keys.LEARNER], token)

    async def reserve(self) -> int:
        return int(await reach(self._redis.incr(keys.NEXT_VERSION)))

    async def publish(self, release: AdapterRelease, token: int) -> None:
        now = time.time()
        accepted = await self._run(
            _PUBLISH,
            [keys.LEARNER, keys.RELEASES, keys.TRAINED, keys.CHANGES],
            token,
            release.version,
            release.to_json(),
            now,
            now - _TRAINED_SECONDS,
            *release.sample_ids,
        )
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
        self, version: int, expected: int, reason: str, verdict: Mapping[str, float]
    ) -> bool:
        old_text, new_text, retired = b"", b"", b""
        if version != BASE:
            old_text = await self._text(version)
            release = AdapterRelease.from_json(old_text)
            new_text = release.promoted(reason, verdict).to_json()
        if expected not in (BASE, version):
            retired = (await self.get(expected)).retired().to_json()
        names = [keys.LIVE, keys.RELEASES, keys.CHANGES]
        moved = await self._run(_PROMOTE, names, version, expected, old_text, new_text, retired)
        return bool(moved)

    async def reject(self, version: int, reason: str, verdict: Mapping[str, float]) -> None:
        text = await self._text(version)
        release = AdapterRelease.from_json(text)
        if release.state is ReleaseState.CANDIDATE:
            record = release.rejected(reason, verdict).to_json()
            await self._run(_REJECT, [keys.RELEASES, keys.CHANGES], version, text, record)

    async def wait(self, seen: str, seconds: float) -> str:
        block = max(1, round(seconds * 1000))
        reply = await reach(self._redis.xread({keys.CHANGES: seen or "0"}, count=100, block=block))
        return reply[0][1][-1][0].decode() if reply else seen

    async def close(self) -> None:
        await self._redis.aclose()

    async def _text(self, version: int) -> bytes:
        text = await reach(self._redis.hget(keys.RELEASES, str(version)))
        if text is None:
            raise UnknownRelease(f"there is no version {version}")
        return text

    async def _run(self, script: str, names: Sequence[str], *arguments: Any) -> Any:
        return await reach(self._redis.eval(script, len(names), *names, *arguments))
