"""`ratchet releases` and `ratchet forget`: look at releases, move the live pointer by hand, and
take a client's groups out of them."""

import argparse
import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from adapter.explanation import explanation
from adapter.settings import ChannelSettings
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.audit import authentication, faults
from adapter.store.channels import open_buffer, open_releases
from adapter.store.clients import pseudonym_under
from adapter.store.forgetting import forget as forget_client
from adapter.store.ledger import KEY_FILE, LedgerKeyFile
from adapter.store.releases import BASE, AdapterRelease, ReleaseStore, promote_by_hand, rollback
from ratchet.errors import ConfigurationError
from ratchet.settings import flags_of, read
from server.recording.feedback_stores import open_feedback


def releases(arguments: argparse.Namespace) -> int:
    """Look at releases, check them, or move the live pointer."""
    settings = read(ChannelSettings, flags_of(arguments))
    return asyncio.run(_releases(settings, arguments.action, arguments.version))


def forget(arguments: argparse.Namespace) -> int:
    """Forget a client, or all users of a holder, or only record it again."""
    settings = read(ChannelSettings, flags_of(arguments))
    return asyncio.run(_forget(settings, arguments.client, arguments.undo))


async def _releases(settings: ChannelSettings, action: str, version: int | None) -> int:
    store = open_releases(settings)
    try:
        match action:
            case "rollback":
                print(_moved(*await rollback(store, version)))
            case "promote":
                if version is None:
                    raise ConfigurationError("promote which version? `releases promote N`")
                print(_moved(await promote_by_hand(store, version), version))
            case "pause" | "resume":
                await store.pause("paused by hand" if action == "pause" else None)
                print("candidates wait" if action == "pause" else "candidates are judged again")
            case "verify":
                return await _verify(store, AdapterFolders(settings.adapters_dir))
            case "show":
                shown = version if version is not None else await store.live()
                print(json.dumps((await store.get(shown)).shown(), indent=2))
            case "why":
                shown = version if version is not None else await _latest(store)
                print(explanation(await store.get(shown)))
            case _:
                for release in await store.all():
                    print(_line(release))
                print(f"live: {_name(await store.live())}")
                if why := await store.paused():
                    print(f"candidates wait: {why}")
    finally:
        await store.close()
    return 0


async def _latest(store: ReleaseStore) -> int:
    """The newest version that was judged."""
    judged = [release.version for release in await store.all() if release.steps]
    if not judged:
        raise ConfigurationError("no version was judged yet")
    return judged[-1]


async def _verify(store: ReleaseStore, folders: AdapterFolders) -> int:
    """Print every fault, or by what the ledger is known; 1 if there is a fault."""
    if found := [fault async for fault in faults(store, folders)]:
        print("\n".join(found))
        return 1
    print("ledger, records and folders agree")
    key = LedgerKeyFile(folders.root / KEY_FILE).read()
    print(f"ledger: {authentication(await store.ledger(), key)}")
    return 0


async def _forget(settings: ChannelSettings, client: str, undo: bool) -> int:
    buffer, store = open_buffer(settings), open_releases(settings)
    answers = open_feedback(settings.redis_url, 1.0, settings.retention_seconds)  # it stores none
    try:
        if undo:
            await buffer.opt_in(pseudonym_under(client))
            print("its requests are recorded again")
            return 0
        report = await forget_client(client, buffer, store, AdapterFolders(settings.adapters_dir))
        judged = await answers.forget(pseudonym_under(client))
    finally:
        for one in (buffer, store, answers):
            await one.close()
    removed = report.removed
    print(
        f"removed: {removed.waiting} waiting groups, {removed.dead} dead letters, "
        f"{removed.kept} groups kept after training, {judged} answers and labels kept for feedback"
    )
    for server, gone in report.servers.items():
        print(f"memory of server {server}: {_cleared(gone)}")
    print(_moved(report.left, report.live))
    print(f"withdrawn: {' '.join(map(_name, report.withdrawn)) or 'nothing'}")
    print(f"groups of other clients to be trained again: {report.replayed}")
    print("its requests are answered, but not recorded any more; --undo changes that")
    return 0


def _cleared(gone: Mapping[str, int] | None) -> str:
    """What a server has removed, in words."""
    if gone is None:
        return "not cleared yet: it does so as soon as it reaches Redis, or when it ends"
    said = [f"{count} {what}" for what, count in sorted(gone.items()) if count]
    return ", ".join(said) or "nothing"


def _moved(old: int, new: int) -> str:
    return f"live: {_name(old)} -> {_name(new)}"


def _name(version: int) -> str:
    return "base" if version == BASE else f"v{version}"


def _line(release: AdapterRelease) -> str:
    when = datetime.fromtimestamp(release.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    samples = len(release.sample_ids)
    return (
        f"v{release.version:<5} {release.state.value:<10} parent v{release.parent:<5} {when}"
        f"  {samples:>3} groups  {release.folder}  {release.reason}"
    )
