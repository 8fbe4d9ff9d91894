"""What `ratchet forget` does and says."""

from adapter.settings import ChannelSettings
from adapter.store.adapter_folders import AdapterFolders
from adapter.store.channels import open_buffer, open_releases
from adapter.store.clients import pseudonym
from adapter.store.forgetting import forget
from adapter.store.releases import BASE


async def forget_client(settings: ChannelSettings, client: str, undo: bool) -> int:
    """Do it and print what was done."""
    buffer, releases = open_buffer(settings), open_releases(settings)
    try:
        if undo:
            await buffer.opt_in(pseudonym(client))
            print("its requests are recorded again")
            return 0
        folders = AdapterFolders(settings.adapters_dir)
        report = await forget(client, buffer, releases, folders)
    finally:
        await buffer.close()
        await releases.close()
    removed = report.removed
    print(
        f"removed: {removed.waiting} waiting groups, {removed.dead} dead letters, "
        f"{removed.kept} groups kept after training"
    )
    print(f"live: {_name(report.left)} -> {_name(report.live)}")
    print(f"withdrawn: {' '.join(map(_name, report.withdrawn)) or 'nothing'}")
    print(f"groups of other clients to be trained again: {report.replayed}")
    print("its requests are answered, but not recorded any more; --undo changes that")
    return 0


def _name(version: int) -> str:
    return "base" if version == BASE else f"v{version}"
