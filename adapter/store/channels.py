"""Opens the buffer and the release store that the settings name."""

from adapter.settings import ChannelSettings
from adapter.store.buffer import BufferLimits, RolloutBuffer
from adapter.store.ledger import KEY_FILE, LedgerKeyFile
from adapter.store.memory_buffer import MemoryBuffer
from adapter.store.memory_releases import MemoryReleases
from adapter.store.redis.buffer import RedisBuffer
from adapter.store.redis.releases import RedisReleases
from adapter.store.releases import ReleaseStore


def open_buffer(settings: ChannelSettings) -> RolloutBuffer:
    """The rollout buffer at `redis_url`."""
    limits = BufferLimits(
        max_bytes=settings.buffer_max_bytes, max_groups=settings.buffer_max_groups,
        retention_seconds=settings.retention_seconds,
        keep_trained_seconds=settings.keep_trained_seconds,
    )  # fmt: skip
    if settings.redis_url.startswith("memory:"):
        return MemoryBuffer(limits)
    return RedisBuffer(settings.redis_url, limits)


def open_releases(settings: ChannelSettings) -> ReleaseStore:
    """The release store at `redis_url`."""
    if settings.redis_url.startswith("memory:"):
        return MemoryReleases()
    return RedisReleases(settings.redis_url, LedgerKeyFile(settings.adapters_dir / KEY_FILE))
