"""Opens the two channels that a settings object names."""

from adapter.buffer import RolloutBuffer
from adapter.memory_buffer import MemoryBuffer
from adapter.memory_releases import MemoryReleases
from adapter.redis_buffer import RedisBuffer
from adapter.redis_releases import RedisReleases
from adapter.releases import ReleaseStore
from adapter.settings import ChannelSettings


def open_buffer(settings: ChannelSettings) -> RolloutBuffer:
    """The rollout buffer at `redis_url`."""
    limits = (
        settings.buffer_max_bytes,
        settings.buffer_max_groups,
        settings.retention_seconds,
        settings.keep_trained_seconds,
    )
    if settings.redis_url.startswith("memory:"):
        return MemoryBuffer(*limits)
    return RedisBuffer(settings.redis_url, *limits)


def open_releases(settings: ChannelSettings) -> ReleaseStore:
    """The release store at `redis_url`."""
    if settings.redis_url.startswith("memory:"):
        return MemoryReleases()
    return RedisReleases(settings.redis_url)
