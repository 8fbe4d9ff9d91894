"""A worker that learns until a release is out."""

import asyncio

from adapter.learner.worker import Worker
from adapter.store.buffer import RolloutBuffer
from adapter.store.releases import ReleaseStore


async def first_release(worker: Worker, buffer: RolloutBuffer, releases: ReleaseStore) -> list[str]:
    """Group ids of the first release, once they are settled. Nobody judges it."""
    learning = asyncio.create_task(worker.run())
    while not learning.done() and "trained" not in (await buffer.state()).totals:
        await asyncio.sleep(0.01)
    learning.cancel()
    await asyncio.gather(learning, return_exceptions=True)
    assert learning.cancelled(), learning.exception()
    [release] = await releases.all()
    return list(release.sample_ids)
