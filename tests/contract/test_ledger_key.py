"""What a writer of Redis who does not hold the ledger's key can do, and what finds it."""

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapter.store.adapter_folders import WEIGHTS, AdapterFolders, ReleaseCorrupt
from adapter.store.audit import authentication, faults
from adapter.store.buffer import BufferUnavailable
from adapter.store.forgetting import forget
from adapter.store.ledger import KEY_FILE, LedgerEntry, LedgerKeyFile, entry_after
from adapter.store.redis import connection as keys
from adapter.store.redis.buffer import RedisBuffer
from adapter.store.redis.releases import RedisReleases
from adapter.store.releases import AdapterRelease


class Stack:
    """A store that a learner publishes to, its folders, and a foreign client of the same Redis."""

    def __init__(self, url: str, root: Path) -> None:
        self.url, self.folders = url, AdapterFolders(root / "adapters")
        self.keys = LedgerKeyFile(self.folders.root / KEY_FILE)
        self.store = RedisReleases(url, self.keys)
        self.unkeyed = RedisReleases(url)
        self.redis: Any = keys.connect(url)

    async def publish(self, store: RedisReleases | None = None) -> int:
        store = store or self.store
        token = await store.acquire(5.0)
        version, parent = await store.reserve(), await store.live()
        name, digest = self.folders.commit(
            version, lambda folder: (folder / WEIGHTS).write_text(f"{version}") and None
        )
        release = AdapterRelease(version, parent, name, digest, ["g"], {}, 0.0, clients=["c"])
        await store.publish(release, token or 0)
        await store.resign(token or 0)
        return version

    async def found(self) -> list[str]:
        return [fault async for fault in faults(self.store, self.folders)]

    async def rewrite(self, **changes: Any) -> None:
        """As a writer would: change every entry and record of v2, chain the entries anew."""
        entries = await self.store.ledger()
        head: LedgerEntry | None = None
        await self.redis.delete(keys.LEDGER)
        for entry in entries:
            record = entry.record
            if record is not None and record["version"] == 2:
                record = {**record, **changes}
                await self.redis.hset(keys.RELEASES, "2", orjson.dumps(record))
            data = None if record is None else orjson.dumps(record)
            head = entry_after(
                head, at=entry.at, event=entry.event, version=entry.version, live=entry.live,
                record=data, note=entry.note,
            )  # fmt: skip
            await self.redis.xadd(keys.LEDGER, {"e": head.to_json()})


@pytest.fixture
async def stack(servers, tmp_path):
    made = Stack(servers("valkey").url, tmp_path)
    yield made
    for one in (made.store, made.unkeyed, made.redis):
        await one.aclose() if one is made.redis else await one.close()


async def test_a_rewritten_and_rechained_ledger_is_found(stack: Stack) -> None:
    for parent in range(2):
        assert await stack.store.promote(await stack.publish(), parent, "passed")
    assert await stack.found() == []
    key = stack.keys.read()
    assert key is not None
    known = authentication(await stack.store.ledger(), key)
    assert known == f"entries from 1 to 4 by key {key.name}"
    first = await stack.store.get(1)
    await stack.rewrite(folder=first.folder, sha256=first.sha256, clients=[])
    [fault] = await stack.found()
    assert fault == f"ledger: entry 1 is authenticated by no key, not by key {key.name}"


async def test_a_mac_made_without_the_key_is_found(stack: Stack) -> None:
    await stack.publish()
    key = stack.keys.read()
    assert key is not None
    [entry] = await stack.store.ledger()
    forged = {**json.loads(entry.to_json()), "at": 1.0}
    again = LedgerEntry.from_json(orjson.dumps(forged)).sealed()
    forged |= {"hash": again.hash, "key": key.name}
    content = LedgerEntry.from_json(orjson.dumps(forged)).content()
    forged["hash"] = hashlib.sha256(content).hexdigest()
    await stack.redis.delete(keys.LEDGER)
    await stack.redis.xadd(keys.LEDGER, {"e": orjson.dumps(forged)})
    assert f"ledger: entry 1 was not written by a holder of key {key.name}" in await stack.found()


async def test_a_ledger_of_before_goes_on_and_is_held_to_what_it_was(stack: Stack) -> None:
    assert await stack.store.promote(await stack.publish(stack.unkeyed), 0, "passed")
    assert stack.keys.read() is None
    [one, two] = await stack.store.ledger()
    assert (one.key, one.mac, two.key) == ("", "", "")
    assert await stack.found() == []
    assert "by their hashes alone" in authentication([one, two], None)
    await stack.publish()
    key, entries = stack.keys.read(), await stack.store.ledger()
    assert key is not None
    assert (key.after, [bool(entry.key) for entry in entries]) == (2, [False, False, True])
    assert await stack.found() == []
    assert authentication(entries, key) == (
        "entries to 2 by the hash noted when the key was made, "
        f"entries from 3 to 3 by key {key.name}"
    )
    await stack.rewrite(clients=[])
    assert "ledger: entry 3 is authenticated by no key" in (await stack.found())[0]
    await stack.redis.xtrim(keys.LEDGER, maxlen=0)
    for entry in entries[:1]:
        await stack.redis.xadd(keys.LEDGER, {"e": entry.to_json()})
    assert (await stack.found())[0] == (
        f"ledger: it has 1 entries, and had 2 when key {key.name} was made"
    )


async def test_what_our_own_server_signs_of_a_changed_record_is_found(stack: Stack) -> None:
    first = await stack.publish()
    assert await stack.store.promote(first, 0, "passed")
    second = await stack.publish()
    record = json.loads((await stack.store.get(second)).to_json())
    stolen = {**record, "folder": (await stack.store.get(first)).folder}
    await stack.redis.hset(keys.RELEASES, str(second), orjson.dumps(stolen))
    assert await stack.store.promote(second, first, "passed")
    assert "v2: entry 4 has another folder than those before" in await stack.found()


async def test_who_lacks_the_key_writes_nothing_after_it(stack: Stack, tmp_path: Path) -> None:
    version = await stack.publish()
    other = RedisReleases(stack.url, LedgerKeyFile(tmp_path / "elsewhere" / KEY_FILE))
    with pytest.raises(BufferUnavailable, match=r"elsewhere.*gone"):
        await other.promote(version, 0, "passed")
    assert await stack.store.live() == 0
    stack.keys.path.write_text("{}")
    with pytest.raises(BufferUnavailable, match="holds no key"):
        await stack.store.promote(version, 0, "passed")
    assert any("holds no key" in fault for fault in await stack.found())
    await other.close()


async def test_a_lost_key_is_a_fault_and_a_new_one_starts_from_what_is_there(stack: Stack) -> None:
    await stack.publish()
    old = stack.keys.read()
    stack.keys.path.unlink()
    assert old is not None
    [fault] = await stack.found()
    assert f"entries from 1 on name key {old.name}" in fault
    await stack.publish()
    new = stack.keys.read()
    assert new is not None
    assert (new.name != old.name, new.after) == (True, 1)
    assert await stack.found() == []


async def test_the_key_is_its_maker_s_alone_and_outlives_folders(stack: Stack) -> None:
    await stack.publish()
    assert stat.S_IMODE(stack.keys.path.stat().st_mode) == 0o600
    stack.folders.prune(set())
    assert [path.name for path in stack.folders.root.iterdir()] == [KEY_FILE]
    key = stack.keys.read()
    assert key is not None
    stored = [await stack.redis.dump(name) async for name in stack.redis.scan_iter()]
    assert not any(key.secret.hex().encode() in value for value in stored)


async def test_a_key_that_somebody_else_made_meanwhile_stays(tmp_path: Path) -> None:
    keys_file = LedgerKeyFile(tmp_path / KEY_FILE)
    keys_file.make(None)
    first = keys_file.read()
    LedgerKeyFile(tmp_path / KEY_FILE).make(None)
    assert keys_file.read() == first
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize(
    "name", ["../victim", "..", "", "/tmp/x", "v1-abc/../../victim", "v1-abc\n"]
)
@pytest.mark.parametrize("state", ["withdrawn", "live", "candidate", "retired", "rejected"])
async def test_a_path_on_record_is_refused_before_anything_is_touched(
    stack: Stack, tmp_path: Path, name: str, state: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    assert await stack.store.promote(await stack.publish(), 0, "passed")
    planted = AdapterRelease(2, 1, name, "0" * 64, [], {}, 0.0)
    record = {**json.loads(planted.to_json()), "state": state}
    await stack.redis.hset(keys.RELEASES, "2", orjson.dumps(record))
    buffer, before = RedisBuffer(stack.url), await stack.store.ledger()
    with pytest.raises(ReleaseCorrupt, match="no name of ours"):
        await forget("somebody", buffer, stack.store, stack.folders)
    assert victim.is_dir()
    assert (await stack.store.ledger(), await buffer.opted_out()) == (before, frozenset())
    assert any("no name of ours" in fault for fault in await stack.found())
    with pytest.raises(ReleaseCorrupt, match="no name of ours"):
        stack.folders.verified(await stack.store.get(2))
    with pytest.raises(ReleaseCorrupt, match="nothing is deleted"):
        stack.folders.remove([(await stack.store.get(1)).folder, name])
    assert len(list(stack.folders.root.iterdir())) == 2
    await buffer.close()


async def test_records_that_are_their_own_ancestors_end(stack: Stack) -> None:
    assert await stack.store.promote(await stack.publish(), 0, "passed")
    record = {**json.loads((await stack.store.get(1)).to_json()), "parent": 1}
    await stack.redis.hset(keys.RELEASES, "1", orjson.dumps(record))
    buffer = RedisBuffer(stack.url)
    with pytest.raises(LookupError, match="cannot be true"):
        await forget("somebody", buffer, stack.store, stack.folders)
    await buffer.close()
