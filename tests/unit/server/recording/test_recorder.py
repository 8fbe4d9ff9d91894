import asyncio
from collections.abc import Sequence
from dataclasses import replace

from adapter.store.buffer import Append
from adapter.store.memory_buffer import MemoryBuffer
from rewards.rollouts import Rollout, RolloutGroup, Sampling
from server.metrics import ServerMetrics
from server.recording.recorder import Recorder

LONG = Rollout("x", [1] * 200_000, [-0.1] * 200_000, "stop")
GROUP = RolloutGroup("", "p", [1], [LONG], 0, Sampling(), "c", 0.0)


class Watched(MemoryBuffer):
    """Notes how many groups come at once."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once: list[int] = []

    async def append_all(self, groups: Sequence[RolloutGroup]) -> list[Append]:
        self.at_once.append(len(groups))
        return await super().append_all(groups)


async def test_long_groups_go_to_the_buffer_a_few_at_a_time() -> None:
    """500,000 tokens make a message full: seven groups of 200,000 go as 3, 3, 1."""
    buffer = Watched()
    recorder = Recorder(buffer, 100, ServerMetrics())
    await recorder.check()
    for number in range(7):
        recorder.record(replace(GROUP, id=str(number)))
    running = asyncio.create_task(recorder.run())
    await recorder.flush()
    running.cancel()
    assert buffer.at_once == [3, 3, 1]
    assert (await buffer.state()).waiting == 7
